"""The plots of docs/igds.md from the record of a study, and the images it sampled where its folder is at hand.

infodistill reproduce igds-digits
python benchmarks/igds_plots.py runs/reproduce/igds-digits/study.json --sets runs/reproduce/igds-digits --out docs/igds
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from infodistill.serialise import write_bytes
from infodistill.studies.plots import samples_png, write_plots


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("record", type=Path, help="study.json of a study, or its copy in benchmarks/results")
    parser.add_argument("--sets", type=Path, help="the study's folder, for pictures of sampled images")
    parser.add_argument("--label", type=int, default=1, help="the class whose ten images are shown")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found = json.loads(args.record.read_text())
    for path in write_plots(found, args.out):
        print(path)
    if args.sets is not None:
        write_bytes(args.out / "samples-ipc1.png", samples_png(args.sets, found, ipc=1))
        write_bytes(args.out / "samples-ipc10.png", samples_png(args.sets, found, ipc=10, label=args.label))


if __name__ == "__main__":
    main()
