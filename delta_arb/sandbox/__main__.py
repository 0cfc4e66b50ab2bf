"""`delta-arb sandbox`: both venues on this machine, playing a tape, until interrupted."""

from delta_arb.command import program
from delta_arb.sandbox.options import SandboxOptions

EXAMPLES = (
    "delta-arb sandbox --speed 60",
    "delta-arb sandbox --tape spot.parquet perp.parquet --pair LUNC_USDT --contract-size 10000",
    "delta-arb sandbox --faults drill.toml --log fired.jsonl",
    "",
    "a fault script (drill.toml) is a list of lines such as",
    "  [[fault]]",
    '  venue = "gate"',
    '  at = "order.create"',
    '  do = "error_after"     # the order is accepted, the answer is HTTP 503',
    "(all hooks and actions: delta-arb sandbox --explain)",
)


def sandbox(options: SandboxOptions) -> int:
    """Two small exchanges on this machine: MEXC spot and Gate.io USDT futures.

    They speak the real wire protocols, so ccxt connects to them by configuration alone, which is printed. They
    play recorded quotes (the bundled synthetic sample, or your own files), keep one account each with play money,
    and fill orders against the quotes shown. No keys, no network: they listen on 127.0.0.1 only.
    """
    import asyncio

    from delta_arb.sandbox import faults
    from delta_arb.sandbox.session import serve

    if options.explain:
        print(faults.__doc__)
        return 0

    return asyncio.run(serve(options))


main = program(SandboxOptions, sandbox, *EXAMPLES, begun=True)


if __name__ == "__main__":
    raise SystemExit(main())
