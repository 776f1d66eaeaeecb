"""What ends soon is told 14, 7 and 1 days before, once each, and what was mended is told anew should it end again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.expiries import Told, certificate_expiry, own_expiries, partner_expiries
from keys.listed import DAY
from tests.support.exchange import make_town
from tests.support.keys import NOW, make_bundle, make_revocation
from tests.support.messages import B

END = NOW + 20 * DAY


@pytest.mark.parametrize(
    ("left", "step"),
    [(15, None), (14.01, None), (14, 14), (8, 14), (7, 7), (1.5, 7), (1, 1), (0.1, 1), (0, 0), (-3, 0)],
)
def test_step_is_the_nearest_that_was_reached(left: float, step: int | None) -> None:
    found = certificate_expiry("tls.crt", END, END - int(left * DAY))
    assert [expiry.step for expiry in found] == ([] if step is None else [step])


def test_role_without_an_active_key_has_ended() -> None:
    bundle = make_bundle()
    http = bundle.active_http(NOW)
    assert http is not None
    without = make_bundle(history=(bundle,), revoked=(make_revocation(http.kid),))
    assert [(e.what, e.name, e.step) for e in own_expiries(without, NOW)] == [("own-key", "http", 0)]
    assert own_expiries(bundle, NOW) == own_expiries(None, NOW) == ()


async def test_partner_that_nobody_verified_is_none_of_our_business() -> None:
    town = make_town()
    partners = await town.a.exchange.partners.all()
    late = partners[0].newest.exp - DAY
    assert [(e.what, e.name, e.step) for e in partner_expiries(partners, late)] == [("partner-bundle", B, 1)]
    town.a.know(B, verified=False)
    assert partner_expiries(await town.a.exchange.partners.all(), late) == ()


def test_each_step_is_told_once_and_what_has_ended_once_a_day() -> None:
    told, heard = Told(), list[tuple[int, int]]()
    for hour in range(25 * 24):
        now = NOW + hour * 3600
        heard += [((END - now) // DAY, one.step) for one in told.news(certificate_expiry("tls.crt", END, now), now)]
    days = [left for left, step in heard if step == 0]
    assert heard[:4] == [(14, 14), (7, 7), (1, 1), (0, 0)]
    assert len(days) <= 6
    renewed = certificate_expiry("tls.crt", END + 8 * DAY, NOW)
    assert told.news(renewed, NOW) == ()


def test_what_ends_again_after_it_was_mended_is_told_again() -> None:
    told = Told()
    assert len(told.news(certificate_expiry("tls.crt", END, END - DAY), NOW)) == 1
    assert told.news((), NOW) == ()
    assert len(told.news(certificate_expiry("tls.crt", END, END - DAY), NOW)) == 1


def test_sentence_names_the_day_and_the_mend() -> None:
    (found,) = certificate_expiry("tls.crt", int(datetime(2027, 2, 1, tzinfo=UTC).timestamp()), NOW + 10 * DAY)
    assert found.sentence() == (
        "certificate tls.crt ends on 2027-02-01: put a new certificate and key in place and restart"
    )
