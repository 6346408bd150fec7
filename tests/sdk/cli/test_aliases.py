"""Old and short spellings of commands and options."""

from __future__ import annotations

import pytest
from command_tree import COMMANDS
from outcomes import assert_refused

from hmdrn_runtime.images.preprocessing import PREPROCESSING_MODES


def find_options(name):
    """The options of a spelling, by command."""
    return {
        path: option for path, command in COMMANDS.items() for option in command.params if name in option.opts
    }


def test_calibrate_is_quantize_report_with_a_note(hmdrn):
    new, old = hmdrn("quantize-report", "--help"), hmdrn("calibrate", "--help")
    assert (new.code, new.err) == (0, "")
    assert (old.code, old.out) == (0, new.out)
    assert old.err == "hmdrn: note: hmdrn calibrate is now called hmdrn quantize-report\n"
    assert "hmdrn calibrate" not in COMMANDS


def test_an_error_of_calibrate_names_quantize_report(hmdrn, tmp_path):
    done = hmdrn("calibrate", tmp_path / "missing.hmdrn")
    assert done.code == 2
    assert done.err.splitlines()[1].endswith("see hmdrn quantize-report --help")


@pytest.mark.parametrize(("name", "alias"), [("--false-accept-rate", "--far"), ("--license", "--licence")])
def test_an_option_has_its_alias_in_every_command(name, alias):
    options = find_options(name)
    assert options
    assert options == find_options(alias)
    assert all(option.opts == [name, alias] for option in options.values())


def test_the_false_accept_rate_is_an_option_of_three_commands(hmdrn, specimens):
    assert set(find_options("--far")) == {"hmdrn enroll", "hmdrn eval", "hmdrn gallery calibrate"}
    for spelling in ("--false-accept-rate", "--far"):
        outcome = hmdrn("eval", "default", specimens, "--unknown", spelling, 0.7)
        assert_refused(outcome, "--false-accept-rate", "0.01<=x<=0.5")


def test_the_preprocessings_of_the_command_line_are_those_of_the_runtime():
    for option in find_options("--preprocess").values():
        assert tuple(option.type.choices) == PREPROCESSING_MODES
