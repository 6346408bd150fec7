from __future__ import annotations

from collections.abc import Iterator

import click
from outcomes import assert_refused

from hmdrn.cli.main import cli
from hmdrn.cli.numbers import FiniteRange


def options(command: click.Command, name: str) -> Iterator[tuple[str, click.Parameter]]:
    """Every option of a command and of those under it that takes a number with a fraction."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for verb in command.list_commands(context):
            below = command.get_command(context, verb)
            assert below is not None
            yield from options(below, f"{name} {verb}")
    for option in command.params:
        if isinstance(option.type, click.types.FloatParamType):
            yield f"{name} {option.opts[0]}", option


def every_option() -> dict[str, click.Parameter]:
    from benchmarks.ablation.__main__ import command

    return dict([*options(cli, "hmdrn"), *options(command, "ablation")])


def taken(option: click.Parameter, text: str) -> bool:
    try:
        option.type.convert(text, option, None)
    except click.BadParameter:
        return False
    return True


def test_no_option_of_any_command_takes_nan_or_infinity():
    found = every_option()
    assert {"hmdrn eval --far", "hmdrn gallery calibrate --far", "hmdrn watch --max-seconds"} <= set(found)
    assert len(found) >= 15
    for name, option in found.items():
        for text in ("nan", "NaN", "-nan", "inf", "-inf", "1e999"):
            assert not taken(option, text), f"{name} takes {text}"


def test_numbers_within_the_bounds_are_taken():
    assert FiniteRange(0.01, 0.5).convert("0.05", None, None) == 0.05


def test_a_rate_that_is_no_number_is_refused_in_one_line(hmdrn, specimens):
    assert_refused(
        hmdrn("eval", "default", specimens, "--unknown", "--far", "nan"), "--far", "nan is no finite number"
    )
