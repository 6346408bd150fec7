"""`hmdrn selftest`."""

from __future__ import annotations

from pathlib import Path

import click

from hmdrn.cli.options import PATH, json_option, option
from hmdrn.cli.output import format_json, print_json, progress, with_schema
from hmdrn.doctor.redaction import private_folders, private_names, redact
from hmdrn.loading import DEFAULT, resolve_bundle
from hmdrn.selftest.page import format_page
from hmdrn.selftest.selftest import run_selftest
from hmdrn_runtime.datasets.dataset import open_dataset
from hmdrn_runtime.errors import HmdrnError
from hmdrn_runtime.io.files import describe_os_error, expand_path


@click.command("selftest")
@click.argument("bundle", default=DEFAULT, metavar="[BUNDLE]")
@option("--photos", type=PATH, help="Photos of your kind, a folder for each class, for the accuracy.")
@option("--output", "-o", type=PATH, help="Folder to write selftest.json and selftest.md to.")
@option("--quick", is_flag=True, help="Fewer photos, short measurements, no engines built.")
@json_option
def command(bundle: str, photos: Path | None, output: Path | None, quick: bool, as_json: bool) -> int:
    """Try and measure all that hmdrn does on this device, in at most ten minutes.

    Reports what `hmdrn doctor` finds, and for every backend that works here and every variant of BUNDLE's
    graphs accuracy, agreement with the FP32 graphs on the CPU, and latency by stage. Each package for CUDA
    copies memory. Where TensorRT is, engines of every precision are built and checked, in a copy of BUNDLE.
    Accuracy is that on drawn specimens, and with --photos on up to 20 classes of photographs.

    A part that fails is reported and ends no other; the exit code is then 2. Send in the files of --output:
    they name neither user nor host, no folders and no serial numbers.

    Example: hmdrn selftest --output report --quick
    """
    path = resolve_bundle(bundle)
    if photos is not None:
        photos = expand_path(photos, HmdrnError)
        open_dataset(photos)  # at once: not a failure of every part
    if output is not None:
        output = expand_path(output, HmdrnError)
        _make_folder(output)
    with progress() as report:
        result = run_selftest(bundle, path, photos, quick, report)
    folders = private_folders(bundle) | ({} if photos is None else private_folders(str(photos)))
    values = redact(result.to_dict(), private_names(), folders)
    page = format_page(values)
    if output is not None:
        text = format_json(with_schema("selftest", values))
        for name, content in (("selftest.json", f"{text}\n"), ("selftest.md", page)):
            try:
                (output / name).write_text(content, encoding="utf-8")
            except OSError as error:
                raise HmdrnError(f"cannot write {output / name}: {describe_os_error(error)}") from error
    if as_json:
        print_json("selftest", values)
    else:
        click.echo(page, nl=False)
    return 0 if result.works else 2


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HmdrnError(f"cannot make folder {folder}: {describe_os_error(error)}") from error
