import { createApp } from 'vue';
import { identify } from 'personalize-gateway';
import { PersonalizePlugin } from 'personalize-gateway/vue';
import Shop from './Shop.vue';

identify('u-17');
createApp(Shop).use(PersonalizePlugin, { gateway: import.meta.env.VITE_GATEWAY, site: 'shop' }).mount('#app');
