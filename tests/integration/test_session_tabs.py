"""A model of one browser: several tabs, late and repeated events, log-ins and log-outs.

Its tabs are naive: each keeps whichever tag an answer brings, in whichever order answers come.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway.web.session_lifetime import DAY, Lifetime, Session
from gateway.web.sessions import PROMPT, Claims, Sessions, Visit

SOAK = "SOAK_SECONDS" in os.environ
MINUTES = 30
TIMEOUT = MINUTES * 60
SECRET = ["key"]
TABS = st.integers(0, 2)
USERS = st.sampled_from(["ann", "bob", "eve"])


class Event(NamedTuple):
    """What a tab has tracked: it bears the user and the tag of that moment."""

    name: str
    tab: int
    user: str | None
    tag: str | None
    reset: bool
    at: float


class BrowserMachine(RuleBasedStateMachine):
    """What docs/sessions.md promises must hold in whatever order things happen."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_763_880_000.0
        self.cookie: str | None = None
        self.cookie_until = 0.0
        self.users: list[str | None] = [None] * 3
        self.tags: list[str | None] = [None] * 3
        self.resets = [False] * 3
        self.anew = [False] * 3  # consent was refused, and no session is known since
        self.refused: set[str] = set()  # session IDs from before a refusal
        self.count = 0
        self.tracked: list[Event] = []
        self.answers: list[tuple[int, str]] = []  # tags on their way to a tab
        self.members: dict[str, set[str]] = {}  # session ID: the users known in it

    @initialize(days=st.sampled_from([0, 1, 3]))
    def set_up_site(self, days: int) -> None:
        self.visitor_seconds = days * DAY
        self.sessions = Sessions("shop", SECRET, Lifetime(MINUTES, days))

    @rule(seconds=st.sampled_from([1, 5, 20, 90, 400, 1000, 1900, 40_000, 100_000]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule(tab=TABS, user=USERS)
    def log_in(self, tab: int, user: str) -> None:
        self.users[tab] = user

    @rule(tab=TABS)
    def log_out(self, tab: int) -> None:
        self.users[tab] = self.tags[tab] = None
        self.resets[tab] = True

    @rule()
    def refuse_consent(self) -> None:
        """The page forgets all; with a later consent it begins anew, though the cookie is there."""
        self.refused |= self.members.keys()
        self.users, self.tags, self.anew = [None] * 3, [None] * 3, [True] * 3
        self.tracked.clear()
        self.answers.clear()

    @rule(tab=TABS)
    def track(self, tab: int) -> None:
        self.now += 1  # a token tells whole seconds
        self.count += 1
        name = str(self.count)
        reset, self.resets[tab] = self.resets[tab] or self.anew[tab], False
        self.tracked.append(Event(name, tab, self.users[tab], self.tags[tab], reset, self.now))

    @rule(tab=TABS)
    def track_and_send(self, tab: int) -> None:
        self.track(tab)
        self.post(self.tracked[-1])
        if self.answers:
            self.deliver(len(self.answers) - 1)

    @precondition(lambda self: self.tracked)
    @rule(data=st.data(), answered=st.booleans())
    def send(self, data: st.DataObject, answered: bool) -> None:
        """Late, or once more; of some requests no answer comes, though its cookie may.

        What bears no tag begins the same session anew each time, so not after that one's end. A
        page keeps no event for longer than a day.
        """
        event = data.draw(st.sampled_from(self.tracked))
        if self.now - event.at > (DAY if event.tag else TIMEOUT):
            return
        before = len(self.answers)
        self.post(event)
        if not answered:
            del self.answers[before:]

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.integers(0, len(self.answers) - 1)))

    def deliver(self, index: int) -> None:
        tab, self.tags[tab] = self.answers.pop(index)
        self.anew[tab] = False

    def post(self, event: Event) -> None:
        self.now += 1
        if self.now > self.cookie_until:
            self.cookie = None
        claims = Claims(event.user, event.tag, self.cookie, event.reset)
        visit = self.sessions.visit(claims, [event.at], self.now, lambda: event.name)
        self.check_members(event, visit)
        self.check_visitor(event, visit)
        if visit.token is not None:
            self.check_token(event, visit.token)
            self.answers.append((event.tab, visit.token))
        if visit.cookie_seconds is not None:
            assert visit.token is not None
            self.check_cookie(event, visit.token)
            self.check_lifetime(visit.token, visit.cookie_seconds)
            self.cookie, self.cookie_until = visit.token, self.now + visit.cookie_seconds

    def check_members(self, event: Event, visit: Visit) -> None:
        [session_id] = visit.session_ids
        assert session_id not in self.refused, "goes on after a refusal"
        members = self.members.setdefault(session_id, set())
        if event.user:
            members.add(event.user)
        assert len(members) <= 1, f"{members} in one session"
        assert members or not visit.logged_in, "nobody has logged in"
        assert session_id in visit.logged_in or not event.user, "somebody has logged in"

    def check_visitor(self, event: Event, visit: Visit) -> None:
        """Check that a session goes on for as long as its cookie, and into a log-in."""
        if self.cookie is None or event.reset:
            return
        held, tagged = self.read(self.cookie), event.tag and self.read(event.tag)
        same_user = event.user is None or not held.user or self.is_of(held, event.user)
        if same_user and (not tagged or tagged.id == held.id):
            assert visit.session_ids == [held.id], "the session got lost"
            assert visit.logged_in or not held.user, "the user got lost"
            assert visit.token or not event.user or held.user, "the log-in is not remembered"

    def check_lifetime(self, token: str, seconds: int) -> None:
        """Check that a cookie lasts for days while the visitor is anonymous, and only then."""
        session = self.read(token)
        if self.visitor_seconds and not session.user:
            assert seconds - 1 < session.started + self.visitor_seconds - self.now <= seconds
        else:
            assert seconds <= TIMEOUT * 1.1

    def check_token(self, event: Event, token: str) -> None:
        """Check that it is nobody else's, and as good as what the browser holds of the session."""
        session = self.read(token)
        assert event.user is None or self.is_of(session, event.user), "another person's"
        for known in filter(None, (event.tag, self.cookie)):
            older = self.read(known)
            if older.id == session.id:
                assert session.renewed >= older.renewed, "renewed earlier"
                assert session.user or not older.user, "forgets the user"

    def check_cookie(self, event: Event, token: str) -> None:
        if self.cookie is None:
            return
        held, session = self.read(self.cookie), self.read(token)
        if held.id == session.id:
            return
        assert session.started >= held.started, "replaced by an earlier session"
        late = self.now - event.at > PROMPT
        others = held.user and event.user and not self.is_of(held, event.user)
        assert not (late and others and not event.reset), "replaced by another's late event"

    def read(self, token: str) -> Session:
        session = self.sessions.read(token)
        assert session is not None
        return session

    def is_of(self, session: Session, user: str) -> bool:
        return session.user == self.sessions._mark(session.id, user, SECRET[0].encode())


TestBrowserMachine = BrowserMachine.TestCase
TestBrowserMachine.settings = settings(
    max_examples=20_000 if SOAK else 60, stateful_step_count=40 if SOAK else 30, deadline=None
)
