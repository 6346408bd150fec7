from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmdrn_runtime.errors import BundleError, GalleryError, HmdrnError
from hmdrn_runtime.io.json_document import JsonObject, canonical_json

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SAMPLES = {
    str: ["a", ""],
    int: [0, -3],
    float: [0.5, -2.0],
    bool: [True, False],
    list: [[], [1]],
    dict: [{}, {"a": 1}],
}


def document(values: object) -> JsonObject:
    return JsonObject(values, "x.json", GalleryError)


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_an_entry_of_the_requested_type_is_returned_as_that_type(kind):
    for value in SAMPLES[kind]:
        result = document({"key": value}).get("key", kind)
        assert result == value
        assert type(result) is kind


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_an_entry_of_another_type_is_refused_and_named(kind):
    others = [v for other, values in SAMPLES.items() for v in values if other is not kind]
    for value in [*others, None]:
        if kind is float and type(value) is int:
            continue
        with pytest.raises(GalleryError, match=f"x.json is damaged: 'key' is .*, expected {kind.__name__}$"):
            document({"key": value}).get("key", kind)


def test_an_int_passes_for_a_float():
    result = document({"key": 2}).get("key", float)
    assert result == 2.0
    assert type(result) is float


def test_a_boolean_is_neither_an_int_nor_a_float():
    for kind in (int, float):
        with pytest.raises(GalleryError, match="'key' is bool"):
            document({"key": True}).get("key", kind)


def test_a_missing_entry_is_named():
    with pytest.raises(GalleryError, match=r"x.json is damaged: no entry 'key'"):
        document({"other": 1}).get("key", int)


@pytest.mark.parametrize("values", [None, [], "text", 3, True])
def test_anything_but_an_object_is_refused(values):
    with pytest.raises(GalleryError, match="expected an object, found"):
        document(values)
    with pytest.raises(GalleryError, match="expected an object, found"):
        JsonObject.parse(json.dumps(values), "x.json", GalleryError)


def test_the_error_is_of_the_requested_type():
    with pytest.raises(BundleError, match="no entry"):
        JsonObject({}, "m", BundleError).get("key", int)
    with pytest.raises(BundleError, match="not valid JSON"):
        JsonObject.parse("{", "m", BundleError)


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": }', b"\xff\xfe{}", b"\x80", '{"a": 1} trailing', "[" * 200_000, "9" * 5000]
)
def test_text_that_is_not_json_is_refused_and_the_file_named(text):
    with pytest.raises(GalleryError, match=r"x.json is damaged"):
        JsonObject.parse(text, "x.json", GalleryError)


def test_nested_objects_are_named_by_their_path():
    outer = document({"a": {"b": {"c": 1}}, "list": [{"d": 1}, {"d": "no"}]})
    assert outer.child("a").child("b").get("c", int) == 1
    with pytest.raises(GalleryError, match=r"x.json: a: b is damaged: no entry 'd'"):
        outer.child("a").child("b").get("d", int)
    first, second = outer.objects("list")
    assert first.get("d", int) == 1
    with pytest.raises(GalleryError, match=r"x.json: list\[1\] is damaged: 'd' is str, expected int"):
        second.get("d", int)


def test_children_are_the_objects_in_an_object_by_name():
    children = document({"a": {"v": 1}, "b": {"v": 2}}).children()
    assert {name: child.get("v", int) for name, child in children.items()} == {"a": 1, "b": 2}
    with pytest.raises(GalleryError, match=r"x.json is damaged: 'b' is int, expected dict"):
        document({"a": {}, "b": 2}).children()


def test_a_list_of_something_other_than_objects_is_refused():
    with pytest.raises(GalleryError, match=r"x.json: list\[0\] is damaged: expected an object"):
        list(document({"list": [3]}).objects("list"))
    with pytest.raises(GalleryError, match="'list' is dict, expected list"):
        list(document({"list": {}}).objects("list"))


def test_a_list_of_strings_is_read_whole_or_refused():
    assert document({"list": ["a", "b"]}).sequence("list", str) == ("a", "b")
    assert document({"list": []}).sequence("list", str) == ()
    with pytest.raises(GalleryError, match="'list' holds something other than str"):
        document({"list": ["a", 3]}).sequence("list", str)


def test_a_number_too_large_for_a_float_is_refused():
    with pytest.raises(GalleryError):
        document({"key": 10**400}).get("key", float)


@given(JSON_VALUES)
def test_canonical_json_keeps_the_value_and_survives_a_round_trip(values):
    text = canonical_json(values)
    assert json.loads(text) == values
    assert canonical_json(json.loads(text)) == text
    assert text.endswith("\n")


def test_canonical_json_does_not_depend_on_the_order_of_entries():
    assert canonical_json({"b": 1, "a": {"d": 1, "c": [2, 1]}}) == (
        '{\n  "a": {\n    "c": [\n      2,\n      1\n    ],\n    "d": 1\n  },\n  "b": 1\n}\n'
    )
    assert canonical_json({"b": 1, "a": 2}) == canonical_json({"a": 2, "b": 1})
    assert canonical_json([1, 2]) != canonical_json([2, 1])


def test_canonical_json_keeps_letters_of_all_alphabets_readable():
    assert "Ödlandschrecke 草蜢" in canonical_json({"label": "Ödlandschrecke 草蜢"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_canonical_json_never_holds_nan_or_infinity(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"value": value})


@given(JSON_VALUES, st.sampled_from([str, int, float, bool, list, dict]))
def test_an_entry_has_the_right_type_or_is_refused_with_our_error(value, kind):
    try:
        result = document({"key": value}).get("key", kind)
    except HmdrnError:
        assert not isinstance(value, kind) or isinstance(value, bool)
    else:
        assert isinstance(result, kind)


def test_an_undecodable_name_of_a_file_can_be_recorded():
    text = canonical_json({"name": os.fsdecode(b"vog\xe9l.tgz")})
    assert text.encode() == b'{\n  "name": "vog?l.tgz"\n}\n'
    assert JsonObject.parse(text, "x", HmdrnError).get("name", str) == "vog?l.tgz"
