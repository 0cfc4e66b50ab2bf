"""`delta-arb index`: write the page that lists all runs, live sessions and reviews of a reports folder anew."""

from dataclasses import dataclass
from pathlib import Path

from delta_arb import places
from delta_arb.command import option, program
from delta_arb.errors import RunError


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """Which folder."""

    reports: Path | None = option(
        None, "of the pipeline and the runner  [default: reports/ of the project]", metavar="DIR"
    )


def index(options: IndexOptions) -> int:
    """Write index.html of the reports folder anew, with live sessions that ended since.

    The pipeline and the review do it at their ends.
    """
    from delta_arb.report.index import refresh  # loads what --help does without

    reports = places.reports(options.reports)
    if not reports.is_dir():
        raise RunError(f"{reports}: no such folder; run the pipeline or the runner first, or name another one")
    print(refresh(reports))
    return 0


main = program(IndexOptions, index, "delta-arb index", begun=True)


if __name__ == "__main__":
    raise SystemExit(main())
