"""What can go wrong, as one tree; every message holds the offending value and the remedy.

DeltaArbError
├── DataError         a recording or a series is unusable (file, row and remedy in the message)
│   └── SeriesError   a statistic has no answer for this series (too short, constant, does not revert)
├── ParamsError       a value or a parameter file is out of bounds, damaged, stale or foreign
├── RuleError         the pair machine was handed an event that its phase does not know
└── RunError          a notebook run failed, or two runs collide
"""


class DeltaArbError(Exception):
    """Base of all errors raised on purpose by this package."""


class DataError(DeltaArbError):
    """A recording cannot be used as it is."""


class SeriesError(DataError):
    """The series does not answer the question asked of it; no number is returned in its place."""


class ParamsError(DeltaArbError):
    """A parameter, or a parameter file, is refused."""


class RuleError(DeltaArbError):
    """The pair machine met an event that cannot happen in its phase."""


class RunError(DeltaArbError):
    """A notebook run failed or cannot start."""
