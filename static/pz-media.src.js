/*! Personalize Gateway */
/*
 * The snippet's part for <video> and <audio>: pz.js loads it when data-auto has "media". Built like pz.js.
 *
 * Events: play, pause, resume, ended, and progress at 25, 50 and 75 %. Each tells by its eventValue how many percent
 * of the whole lay behind it; a live stream has no whole, and no such value.
 *
 * Media events do not bubble, but pass the document on their way down, so elements added later need no care. What is
 * not in the document (new Audio()) or in a shadow root stays unseen, and so does what has no item.
 */
((doc) => {
  'use strict';

  const runs = new WeakMap(); // by element: {paused, passed: percent}, from play to ended or another source

  const attribute = (media, name) => media.closest('[' + name + ']')?.getAttribute(name);
  const percent = ({ currentTime, duration }) => Math.floor((100 * currentTime) / duration);

  const track = (type, media, eventValue) => pz('auto', type, {
    itemId: attribute(media, 'data-pz-item'),
    recommendationId: attribute(media, 'data-pz-rec'),
    eventValue,
  });

  const actions = {
    play(media) {
      const run = runs.get(media);
      if (!run) track('play', media, percent(media));
      else if (run.paused) track('resume', media, percent(media));
      runs.set(media, { passed: 0, ...run, paused: false });
    },
    // A player pauses of itself at the end, and while the visitor looks for a place.
    pause(media) {
      const run = runs.get(media);
      if (!run || media.ended || media.seeking) return;
      run.paused = true;
      track('pause', media, percent(media));
    },
    // Who jumps ahead has passed the last quarter only.
    timeupdate(media) {
      const run = runs.get(media);
      const quarter = Math.floor(percent(media) / 25) * 25;
      if (!run || quarter >= 100 || !(quarter > run.passed)) return;
      run.passed = quarter;
      track('progress', media, quarter);
    },
    ended(media) {
      if (runs.delete(media)) track('ended', media, percent(media));
    },
    emptied(media) {
      runs.delete(media);
    },
  };

  const act = (type, media) => {
    try {
      actions[type](media);
    } catch (error) {
      // The page must not notice.
    }
  };

  Object.keys(actions).forEach((type) => doc.addEventListener(type, ({ target }) => act(type, target), true));
  doc.querySelectorAll('video, audio').forEach((media) => media.paused || act('play', media)); // they were faster
})(document);
