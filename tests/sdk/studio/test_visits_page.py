from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from visit_examples import make_clip, make_visit, show_specimens

import hmdrn
from hmdrn.studio.access import Access
from hmdrn.visits.store import VisitStore
from hmdrn_runtime.specimens.drawing import draw_specimens
from hmdrn_runtime.specimens.traits import name_species

FIRST = name_species(0)


@pytest.fixture
def store(tmp_path):
    with VisitStore(tmp_path / "site.visits", create=True) as opened:
        yield opened


@pytest.fixture
def studio(make_studio, gallery, store):
    strangers = draw_specimens(range(6, 8), 2, size=128)
    store.save(make_visit(0, "Jay"))
    for n, pixels in enumerate(strangers):
        store.save(show_specimens(pixels, hours=24 + n))
    return make_studio(gallery, store)


def test_visits_are_listed_by_day(studio):
    text = studio.get("/visits")
    assert "3 visits." in text
    assert len(re.findall(r"<h2>\w+, 2026-05-0\d</h2>", text)) == 2
    assert "Jay" in text


def test_a_filter_leaves_some(studio):
    assert "1 visit." in studio.get("/visits", species="Jay")
    assert "2 visits." in studio.get("/visits", known="unknown")
    assert "not a time" in studio.get("/visits", since="sometime")


def test_visits_of_a_species_that_is_renamed_are_renamed_too(studio, store):
    store.save(make_visit(30, FIRST))
    text = studio.post("/gallery/rename", label=FIRST, new="Blue Morpho")
    assert f"{FIRST} is Blue Morpho now, and so is 1 visit." in text
    assert [visit.label for visit in store.find()][-1] == "Blue Morpho"
    studio.post("/visits/undo")
    assert [visit.label for visit in store.find()][-1] == FIRST


def test_pictures_are_sent(studio, store):
    number = store.find()[0].pictures[0].id
    picture = studio.client.get("/visits/picture", params={"picture": str(number)})
    assert Image.open(io.BytesIO(picture.content)).format == "JPEG"
    assert studio.client.get("/visits/picture", params={"picture": "999"}).status_code == 404


def test_a_clip_is_on_the_page_of_its_visit(studio, store):
    store.save_clip(1, make_clip(webm=b"film"))
    text = studio.client.get("/visits").text
    (player,) = re.findall("<video [^>]*>", text)
    visit = re.search(r'<li [^>]*id="visit-1".*?</li>', text).group()
    assert player in visit
    assert "controls" in player
    address = re.search(r'src="([^"]*)"', player).group(1)
    answer = studio.client.get(address)
    assert (answer.content, answer.headers["content-type"]) == (b"film", "video/webm")
    assert studio.client.get("/visits/clip", params={"visit": "2"}).status_code == 404


@pytest.mark.parametrize(
    ("wanted", "status", "part", "place"),
    [
        ("bytes=0-", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=4-2", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
    ],
)
def test_players_get_the_part_of_a_clip_that_they_ask_for(studio, store, wanted, status, part, place):
    store.save_clip(1, make_clip(webm=b"0123456789"))
    answer = studio.client.get("/visits/clip", params={"visit": "1"}, headers={"range": wanted})
    assert (answer.status_code, answer.content) == (status, part)
    assert answer.headers.get("content-range") == place
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_stranger_gets_no_clip(make_studio, gallery, store):
    store.save_clip(store.save(make_visit()).id, make_clip())
    studio = make_studio(gallery, store, Access(token="secret"))
    answer = studio.client.get("/visits/clip", params={"visit": "1"})
    assert (answer.status_code, b"token" in answer.content) == (401, True)


def test_a_visit_is_corrected_and_undone(studio, store, gallery):
    text = studio.post("/visits/correct", visit="2", label="Newcomer")
    assert "1 visit: Newcomer. 2 pictures enrolled." in text
    assert store.get(2).label == "Newcomer"
    assert hmdrn.load_gallery(gallery).species["Newcomer"].shots == 2
    studio.post("/visits/undo")
    assert store.get(2).label is None
    assert "Newcomer" not in hmdrn.load_gallery(gallery).species


def test_a_visit_without_subject_is_marked(studio, store):
    studio.post("/visits/correct", visit="1", action="not-a-subject")
    assert store.get(1).naming.verdict == "not-a-subject"


def test_strangers_are_named_by_group(studio, store):
    text = studio.get("/inbox")
    ids = re.findall(r'name="visit" value="(\d+)"', text)
    assert set(ids) == {"2", "3"}
    answer = studio.client.post(
        "/visits/correct", data={"visit": ["2", "3"], "label": "Both", "back": "/inbox"}
    )
    assert "No unknown visits" in answer.text
    assert {store.get(n).label for n in (2, 3)} == {"Both"}


def test_a_visit_is_enrolled_and_its_pictures_get_verdicts(studio, store, gallery):
    entry = re.search(r'<li [^>]*id="visit-2".*?</li>', studio.client.get("/visits").text, re.DOTALL).group()
    assert 'formaction="/enroll/visits"' in entry
    text = studio.post("/enroll/visits", visit="2", label="Newcomer")
    assert "2 new pictures of Newcomer." in text
    assert text.count('class="verdict"') == 2
    assert "get the right name (before:" in text
    assert store.get(2).label == "Newcomer"
    studio.post("/enroll/decide", batch="1", photo="0", action="leave-out")
    assert hmdrn.load_gallery(gallery).species["Newcomer"].shots == 1
    studio.post("/visits/undo")
    assert store.get(2).label is None
    assert "Newcomer" not in hmdrn.load_gallery(gallery).species


def test_visits_are_chosen_on_the_page_where_photos_are_enrolled(studio, store, gallery):
    text = studio.get("/enroll")
    assert re.findall(r'type="checkbox" name="visit" value="(\d)"', text) == ["3", "2", "1"]
    fields = {"visit": ["2", "3"], "label": FIRST}
    assert f"4 new pictures of {FIRST}." in studio.client.post("/enroll/visits", data=fields).text
    assert hmdrn.load_gallery(gallery).species[FIRST].shots == 7
    assert 'name="visit" value="2"' not in studio.get("/enroll")
    assert "give the number of at least one" in studio.post("/enroll/visits", label=FIRST)


def test_a_group_of_strangers_is_enrolled_with_verdicts(studio):
    text = studio.client.get("/inbox").text
    assert 'formaction="/enroll/visits"' in text
    assert "Enroll th" in text


def test_many_visits_are_named_as_a_job(studio, store, monkeypatch):
    monkeypatch.setattr("hmdrn.studio.pages.visits._AT_ONCE", 1)
    data = {"visit": ["2", "3"], "label": "Both", "back": "/inbox"}
    assert "2 visits: Both. 4 pictures enrolled." in studio.client.post("/visits/correct", data=data).text
    assert studio.session.jobs.status.title == "Naming visits"


def test_a_right_name_is_confirmed_with_one_button(studio, store):
    text = studio.client.get("/visits").text
    visit = re.search(r'<li [^>]*id="visit-1".*?</li>', text).group()
    assert 'value="Jay"' in visit
    assert ">Right</button>" in visit
    answer = studio.post("/visits/correct", visit="1", label="Jay", back="species=Jay")
    assert store.get(1).naming.verdict == "species"
    assert "1 visit." in answer


def test_a_correction_leads_back_to_the_filtered_diary_alone(studio):
    data = {"visit": "1", "label": "Jay", "back": "known=known&evil=//example.org"}
    answer = studio.client.post("/visits/correct", data=data, follow_redirects=False)
    assert answer.headers["location"].startswith("/visits?known=known&notice=")
    assert answer.headers["location"].endswith("#visit-1")


def test_digits_stand_for_the_most_frequent_species_first(studio):
    keys = re.findall(r"<dt><kbd>(\d)</kbd></dt><dd>([^<]*)</dd>", studio.client.get("/visits").text)
    species = sorted(studio.session.gallery.species)
    assert [name for _, name in keys] == ["Jay", *species]


def test_statistics_count_by_hour_and_day(studio):
    text = studio.get("/visits/statistics")
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', text)
    cells = [(name, re.findall(r"<td[^>]*>([^<]*)</td>", row)) for name, row in rows]
    assert [(name, row[0]) for name, row in cells[:2]] == [("unknown", "2"), ("Jay", "1")]
    assert [sum(map(int, filter(None, row))) for name, row in cells[2:]] == [2, 1, 2, 1]
    assert len(cells[2][1]) == 24
    assert "No visits to count" in studio.get("/visits/statistics", species="Nobody")


def test_a_visit_is_explained_beside_enrolled_photos(studio):
    assert "Visit 2" in studio.get("/why", visit="2")
    assert studio.client.get("/why", params={"visit": "99"}).status_code == 404


def test_naming_a_visit_from_its_explanation_corrects_it_and_teaches_the_gallery(studio, store):
    key = re.search(
        r'name="photo" value="([^"]*)"', studio.client.get("/why", params={"visit": "2"}).text
    ).group(1)
    assert "Visit 2 is Ghost Moth" in studio.post("/classify/correct", photo=key, label="Ghost Moth")
    assert (store.get(2).label, store.get(2).naming.verdict) == ("Ghost Moth", "species")
    assert studio.session.gallery.species["Ghost Moth"].shots == 2
    studio.post("/visits/undo")
    assert "Ghost Moth" not in studio.session.gallery


def test_the_inbox_of_a_model_without_background_asks_for_no_rate(studio, monkeypatch):
    monkeypatch.setattr(hmdrn.Recognizer, "background", None)
    text = studio.get("/inbox")
    assert "default.hmdrn has no background species" in text
    assert "until you set" not in text
    assert str(studio.session.recognizer.bundle.path.parent) not in text


@pytest.mark.parametrize("back", ["", "/inbox"])
def test_visits_are_named_anew_with_what_the_gallery_has_learned(studio, store, back):
    studio.post("/visits/correct", visit="2", label="Ghost Moth")
    assert 'action="/visits/rename"' in studio.client.get(back or "/visits").text
    assert "2 visits have another name now" in studio.post("/visits/rename", back=back)
    assert (store.get(2).label, store.get(3).known) == ("Ghost Moth", None)
    studio.post("/visits/undo")
    assert store.get(3).known is False


def test_older_visits_are_on_further_pages(studio, monkeypatch):
    monkeypatch.setattr("hmdrn.studio.pages.visits._SHOWN", 2)
    assert "Older visits" in studio.get("/visits")
    last = studio.get("/visits", page="1")
    assert "Older visits" not in last
    assert len(re.findall("data-visit=", last)) == 1


def test_without_a_diary_the_page_says_what_to_do(make_studio, gallery):
    studio = make_studio(gallery)
    assert "--visits FILE" in studio.client.get("/visits").text
    assert "/visits" not in studio.get("/gallery")


def test_a_changed_diary_changes_the_version(studio, store):
    before = studio.get("/version")
    store.save(make_visit(48, "Jay"))
    between = studio.get("/version")
    assert between != before
    store.save_clip(1, make_clip())
    assert studio.get("/version") != between
