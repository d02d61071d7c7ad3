"""Why a message was sent, in words that a marketer understands."""

from flask.testing import FlaskClient

from tests.support.wire import decide_document, decided, json_of, problem_of, put_campaign, without


def sentences_about(client: FlaskClient, decision_id: str) -> str:
    told = json_of(client.get(f"/decisions/{decision_id}/explanation"))
    assert told["draw_repeats"] is True
    return "\n".join(told["sentences"])


def test_a_decision_is_explained_with_its_probability_on_the_users_clock(client: FlaskClient) -> None:
    decision = decided(client)
    words = sentences_about(client, decision["decision_id"])
    assert f"with probability {decision['propensity']:.4g} out of" in words
    assert "in America/New_York" in words
    assert "quiet hours in America/New_York, 22:00 to 08:00 by the campaign and 21:00 to 09:30 by the user" in words


def test_a_cap_that_is_reached_is_named_with_its_count_and_hours(empty_client: FlaskClient) -> None:
    put_campaign(
        empty_client,
        channels={"push": {"cost": 0.0, "cap": {"count": 1, "hours": 24}}, "email": {}},
        caps={"count": 2, "hours": 48, "min_gap_hours": 2},
        policy={"floor": 1.0},
    )
    words = ""
    for hour in range(24):
        document = without(decide_document(now=f"2026-11-20T{hour:02}:03:00Z"), "user.quiet_hours")
        if "1 of 1 by push" not in words:  # two e-mails would fill the cap over all channels before
            document["user"]["channels"] = ["push"]
        words += sentences_about(empty_client, decided(empty_client, document)["decision_id"])
    assert "1 of 1 by push in 24 hours are taken" in words
    assert "2 of 2 over all channels in 48 hours are taken" in words
    assert "less than 2 hours from another message" in words


def test_a_decision_that_is_not_there_has_no_explanation(client: FlaskClient) -> None:
    problem_of(client.get("/decisions/01JD/explanation"), 404)
