"""The worlds by name, each fitted to published figures.

Sources. Hillstrom: the MineThatData e-mail challenge (2008). Drink Less: Bell et al. (2023), a micro-randomised trial
of a push at 8 p.m. Duolingo: Yancey and Settles (KDD 2020). If a source has no figure (for example for the organic
visits of a Duolingo user), the number is an assumption, and `about` does not mention it.
"""

from collections.abc import Mapping
from dataclasses import replace

from bandit.errors import FieldError, InvalidInput
from sim.world.laws import Change, ContentLaw, Hazards, Library, Preset, Pressure, Reporting, Spreads, Step

_CATALOGUE = (
    ContentLaw(id="news-digest", topic="news"),
    ContentLaw(id="news-alert", topic="news"),
    ContentLaw(id="sport-scores", topic="sport"),
    ContentLaw(id="sport-interview", topic="sport"),
    ContentLaw(id="music-release", topic="music"),
    ContentLaw(id="music-playlist", topic="music"),
    ContentLaw(id="food-recipe", topic="food"),
    ContentLaw(id="food-offer", topic="food"),
    ContentLaw(id="food-quiz", topic="food"),
)
_RARE = Hazards(opt_out={"push": 0.0014, "email": 0.0028})

DEMO = Preset(
    name="demo",
    about="what `sendopt demo` shows: 73 actions, common responses, nobody tires",
    channels={"push": 0.03, "email": 0.02},
    contents=_CATALOGUE,
    local_hours=(8, 12, 18, 21),
    unsubscribed=-5.0,
    visited=0.3,
    response_rate=0.15,
    organic_rate=0.0865,
    hazards=_RARE,
    users=3_000,
    per_day=267.0,
)

_INTERACTIONS = replace(DEMO.spreads, mood=0.3, weekly=0.2, fit=0.3, weekend_hours=2, sensitivity=0.5)

SMALL_TEAM = replace(
    DEMO,
    name="small_team",
    about="300 decisions a day about 1,500 users; pushes and e-mails answered by 1 in 20; tired users leave",
    response_rate=0.05,
    spreads=_INTERACTIONS,
    pressure=Pressure(fatigue=0.3, novelty=0.3),
    hazards=Hazards(opt_out={"push": 0.001, "email": 0.002}, mute={"push": 0.001}, pressure=0.5),
    reporting=Reporting(lost=0.02, duplicated=0.02),
    users=1_500,
    per_day=300.0,
)

SPARSE = replace(
    DEMO,
    name="sparse",
    about="responses of 0.5 %, organic visits worth nothing",
    channels={"push": 0.002, "email": 0.001},
    unsubscribed=-1.0,
    visited=0.0,
    response_rate=0.005,
    organic_rate=0.02,
    spreads=_INTERACTIONS,
    hazards=Hazards(opt_out={"push": 0.0005, "email": 0.001}),
)

ABRUPT_CHANGE = replace(
    DEMO,
    name="abrupt_change",
    about="the demo's world until all preferences, tastes, rhythms and contents change in the middle",
    decisions=30_000,
    change=Change(abrupt_days=(56.2,)),  # after 15,000 decisions
)

DRIFT = replace(
    DEMO,
    name="drift",
    about="contents wear out and others take their place within 30 days; newcomers; two contents come later",
    contents=(
        *_CATALOGUE[:-2],
        replace(_CATALOGUE[-2], from_day=14.0),
        replace(_CATALOGUE[-1], from_day=28.0),
    ),
    spreads=replace(_INTERACTIONS, quality=0.6),
    change=Change(drift_days=60.0, newcomers=0.5, joining_days=56.0),
)

ECOMMERCE_EMAIL = Preset(
    name="ecommerce_email",
    about="Hillstrom: visits in two weeks .106 without an e-mail, .183 after Mens, .151 after Womens",
    channels={"email": 0.002},
    contents=(
        ContentLaw(id="mens", topic="menswear", rate=0.0857),  # (.182757 - .106167) / (1 - .106167)
        ContentLaw(id="womens", topic="womenswear", rate=0.0506),  # (.151400 - .106167) / (1 - .106167)
    ),
    local_hours=(10,),
    unsubscribed=-1.0,
    visited=1.0,
    response_rate=0.068,
    organic_rate=0.106167,
    spreads=replace(_INTERACTIONS, taste=0.6),
    hazards=Hazards(opt_out={"email": 0.002}, pressure=0.3),
    pressure=Pressure(fatigue=0.3, fatigue_days=7.0),
    reporting=Reporting(response_mean_hours=24.0, response_hours=312.0, organic_hours=336.0),
    users=3_000,
    per_day=400 / 14.25,
)

HABIT_PUSH = Preset(
    name="habit_push",
    about="Drink Less: app opened .036 without and .13 after a push at 8 p.m., falling from .19 in week 1 to .085 in 4",
    channels={"push": 0.02},  # the cost of a push in the replay of the same trial
    contents=(
        ContentLaw(id="standard", topic="track"),
        ContentLaw(id="tip", topic="tips"),
        ContentLaw(id="story", topic="stories"),
        ContentLaw(id="goal", topic="goals"),
    ),
    local_hours=(20,),
    unsubscribed=-2.0,
    visited=1.0,
    response_rate=0.28,
    organic_rate=0.0363,
    spreads=Spreads(
        activity=0.5,
        annoyance=0.5,
        sensitivity=0.5,
        leaning=0.5,
        taste=0.5,
        rhythm=0.5,
        weekly=0.1,
        quality=0.05,
    ),
    pressure=Pressure(
        fatigue=0.1,
        habituation=2.8,
        habituation_sends=10.0,
        habituation_days=60.0,
        novelty=0.1,
        half_life_days=4.0,
    ),
    hazards=Hazards(opt_out={"push": 0.0005}, mute={"push": 0.001}, pressure=0.3),
    users=349,
    per_day=None,
    decisions=60 * 349,
)

DUOLINGO = Preset(
    name="duolingo",
    about="Duolingo: a lesson within 2 h of .13 of the reminders, templates that differ by 1-2 %, recovery in 15 days",
    channels={"push": 0.0},
    contents=tuple(
        ContentLaw(id=f"template-{letter}", topic=topic, awake=awake)
        for letter, topic, awake in (
            ("a", "streak", 0.5),
            ("b", "streak", 1.0),
            ("c", "streak", 1.0),
            ("d", "league", 0.7),
            ("e", "league", 1.0),
            ("f", "goal", 1.0),
            ("g", "goal", 0.8),
            ("h", "owl", 1.0),
            ("i", "owl", 1.0),
            ("j", "words", 1.0),
            ("k", "words", 1.0),
        )
    ),
    local_hours=(18,),
    unsubscribed=-1.0,
    visited=1.0,
    response_rate=0.0867,
    organic_rate=0.05,
    spreads=Spreads(annoyance=0.3, leaning=0.1, taste=0.025, moment=0.0, rhythm=0.1, quality=0.017),
    pressure=Pressure(novelty=0.0285, half_life_days=15.0),  # .017 of the .13, in log-odds of the response
    hazards=Hazards(opt_out={"push": 0.0005}),
    reporting=Reporting(response_mean_hours=0.5, response_hours=2.0),
    users=300,
    per_day=300.0,
)

_NOBODY_DIFFERS = Spreads(activity=0.0, annoyance=0.0, leaning=0.0, taste=0.0, rhythm=0.0)

SEGMENTS = replace(
    DEMO,
    name="segments",
    about="users in eight segments, which the service is told, and nothing else matters; pushes and e-mails of .08",
    response_rate=0.08,
    spreads=replace(_NOBODY_DIFFERS, segment=0.7),
    segments=8,
)

THRESHOLD = replace(
    DEMO,
    name="threshold",
    about="users respond with .02 or .25 and nothing between; age, topic and hour matter all three together",
    response_rate=0.06,
    spreads=replace(DEMO.spreads, three=0.8),
    step=Step(low=0.02, high=0.25),
)

STRONG_FATIGUE = replace(
    HABIT_PUSH,
    name="strong_fatigue",
    about="habit_push with users who tire soon and leave when pressed: what pays today costs in the weeks after",
    response_rate=0.2,
    pressure=replace(HABIT_PUSH.pressure, fatigue=0.45, fatigue_days=5.0, habituation=1.5),
    hazards=replace(HABIT_PUSH.hazards, pressure=0.4),
    users=1_000,
    decisions=90 * 1_000,
)

THOUSAND = replace(
    DEMO,
    name="thousand",
    about="1,000 contents, each known by 32 numbers; a request brings 10 of them, the campaign lists none",
    contents=tuple(
        ContentLaw(id=f"article-{number:03}", topic=("news", "sport", "music", "food")[number % 4])
        for number in range(1_000)
    ),
    local_hours=(12, 19),
    response_rate=0.08,
    spreads=replace(DEMO.spreads, taste=0.3, embedding=0.8),
    library=Library(numbers=32, offered=10),
    users=1_000,
)

LONG_LIVED = replace(
    DEMO,
    name="long_lived",
    about="the demo's world with 150 users and 200 decisions about each: what a user's own past tells",
    users=150,
    per_day=150.0,
    decisions=150 * 200,
)

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        DEMO,
        SMALL_TEAM,
        SPARSE,
        ECOMMERCE_EMAIL,
        HABIT_PUSH,
        DUOLINGO,
        ABRUPT_CHANGE,
        DRIFT,
        SEGMENTS,
        THRESHOLD,
        STRONG_FATIGUE,
        THOUSAND,
        LONG_LIVED,
    )
}


def preset_named(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InvalidInput: there is no such preset.
    """
    if name not in PRESETS:
        raise InvalidInput([FieldError(field="preset", message=f"{name!r} is not one of {', '.join(PRESETS)}")])
    return PRESETS[name]
