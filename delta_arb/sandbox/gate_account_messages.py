"""Gate.io USDT futures on the wire: rows of the account, its key and its positions, as `gate_messages` has those of orders."""

from delta_arb.market import NS
from delta_arb.sandbox.accounts import MarginAccount, Position
from delta_arb.sandbox.gate_messages import USER, Row, contracts, money
from delta_arb.sandbox.values import ZERO, BalanceChange, Listing, text

RISK_LIMIT = "1000000"
MASK = 12  # characters of a key that the venue shows


def position_row(position: Position, account: MarginAccount, decimal: bool) -> Row:
    """One position of GET positions."""
    listing, mark = account.listings[position.pair], account.marks.get(position.pair, ZERO)
    held, margin = bool(position.size), account.position_margin(position)
    return {
        "user": USER,
        "contract": position.pair,
        "size": contracts(position.size, listing, decimal),
        "leverage": "0" if position.cross else text(position.leverage),
        "cross_leverage_limit": text(position.leverage) if position.cross else "0",
        "lever": text(position.leverage),
        "pos_margin_mode": "cross" if position.cross else "isolated",
        "risk_limit": RISK_LIMIT,
        "leverage_max": text(listing.leverage_max),
        "maintenance_rate": text(listing.maintenance_rate),
        "value": money(abs(position.size) * mark),
        "margin": money(margin),
        "entry_price": money(position.entry),
        "liq_price": money(account.liquidation_price(position)) if held else "0",
        "mark_price": text(mark),
        "initial_margin": money(margin),
        "maintenance_margin": money(account.maintenance(position)) if held else "0",
        "unrealised_pnl": money(position.unrealised(mark)),
        "realised_pnl": money(position.realised),
        "pnl_pnl": money(position.pnl),
        "pnl_fund": money(position.funding),
        "pnl_fee": money(position.fees),
        "history_pnl": money(position.history),
        "last_close_pnl": money(position.last_close),
        "realised_point": "0",
        "history_point": "0",
        "adl_ranking": 5 if held else 6,
        "pending_orders": len(account.order_margin),
        "close_order": None,
        "mode": "single",
        "update_time": position.updated_ns // NS,
        "update_id": position.updates,
        "open_time": position.opened_ns // NS if held else 0,
        "trade_max_size": "0",
        "risk_limit_table": "",
        "average_maintenance_rate": text(listing.maintenance_rate),
        "pid": 0,
    }


PUSHED_NUMBERS = (
    "leverage", "cross_leverage_limit", "risk_limit", "leverage_max", "maintenance_rate", "margin", "entry_price",
    "liq_price", "realised_pnl", "history_pnl", "last_close_pnl", "realised_point", "history_point",
)  # fmt: skip


BALANCE_TYPES = {"deposit": "dnw", "pnl": "pnl", "fee": "fee", "fund": "fund"}


def book_row(number: int, change: BalanceChange) -> Row:
    """One row of GET account_book."""
    return {
        "time": change.ts_ns // 1_000_000 / 1000,
        "change": money(change.free_change),
        "balance": money(change.free),
        "type": BALANCE_TYPES[change.reason],
        "text": f"{change.pair}:{change.ts_ns // NS}" if change.pair else "",
        "contract": change.pair,
        "trade_id": "0",
        "id": str(number),
    }


def tier_row(listing: Listing) -> Row:
    """The one row of GET risk_limit_tiers."""
    return {
        "tier": 1,
        "risk_limit": RISK_LIMIT,
        "initial_rate": money(1 / listing.leverage_max),
        "maintenance_rate": text(listing.maintenance_rate),
        "leverage_max": text(listing.leverage_max),
        "contract": listing.pair,
        "deduction": "0",
    }


def detail_row(addresses: list[str]) -> Row:
    """GET account/detail."""
    return {
        "user_id": USER, "ip_whitelist": addresses, "currency_pairs": [], "key": {"mode": 1}, "tier": 0,
        "copy_trading_role": 0,
    }  # fmt: skip


def key_row(key: str, addresses: list[str], made_s: int, may_withdraw: bool) -> Row:
    """One row of GET account/main_keys."""
    perms = [("futures", False), ("wallet", True), ("account", True)] + [("withdrawal", False)] * may_withdraw
    return {
        "state": 1, "mode": 1, "name": "delta_arb", "currency_pairs": [], "user_id": USER, "ip_whitelist": addresses,
        "perms": [{"name": name, "read_only": read_only} for name, read_only in perms], "key": f"{key[:MASK]}*****",
        "created_at": made_s, "update_at": made_s, "last_access": made_s,
    }  # fmt: skip


def account_row(account: MarginAccount) -> Row:
    """GET accounts."""
    held = account.held()
    cross = [p for p in held if p.cross]
    alone = sum((account.position_margin(p) for p in held if not p.cross), ZERO)
    initial = sum((account.position_margin(p) for p in cross), ZERO)
    maintenance = sum((account.maintenance(p) for p in cross), ZERO)
    orders = sum(account.order_margin.values(), ZERO)
    cross_pnl = account.unrealised(cross_only=True)
    return {
        "user": USER,
        "currency": "USDT",
        "total": money(account.wallet),
        "unrealised_pnl": money(account.unrealised()),
        "position_margin": money(alone),
        "order_margin": money(orders),
        "available": money(account.available),
        "position_initial_margin": money(alone + initial),
        "maintenance_margin": money(sum((account.maintenance(p) for p in held), ZERO)),
        "cross_order_margin": money(orders),
        "cross_initial_margin": money(initial),
        "cross_maintenance_margin": money(maintenance),
        "cross_unrealised_pnl": money(cross_pnl),
        "cross_available": money(account.available),
        "cross_margin_balance": money(account.wallet - alone + cross_pnl),
        "isolated_position_margin": money(alone),
        "margin_mode": 0,
        "in_dual_mode": account.settings.dual_positions,
        "position_mode": "dual" if account.settings.dual_positions else "single",
        "enable_new_dual_mode": True,
        "enable_dual_plus": False,
        "enable_tiered_mm": True,
        "enable_credit": True,
        "enable_evolved_classic": False,
        "point": money(account.points),
        "bonus": "0",
        "history": {
            **{name: money(account.paid[reason]) for reason, name in BALANCE_TYPES.items()},
            **dict.fromkeys(("refr", "point_dnw", "point_fee", "point_refr", "bonus_dnw", "bonus_offset"), "0"),
        },
    }


def position_push(position: Position, account: MarginAccount, now_ns: int, decimal: bool) -> Row:
    """One position as the positions channel pushes it."""
    row = position_row(position, account, decimal)
    pushed = {name: float(row[name]) for name in PUSHED_NUMBERS}
    stamps = {"time": now_ns // NS, "time_ms": now_ns // 1_000_000, "user": str(USER), "update_id": row["update_id"]}
    return {"contract": row["contract"], "size": row["size"], "mode": row["mode"], **pushed, **stamps}


def balance_push(change: BalanceChange) -> Row:
    return {
        "balance": float(change.free),
        "change": float(change.free_change),
        "text": f"{change.pair}:{change.ts_ns // NS}" if change.pair else "-",
        "time": change.ts_ns // NS,
        "time_ms": change.ts_ns // 1_000_000,
        "type": BALANCE_TYPES[change.reason],
        "user": str(USER),
        "currency": "usdt",
    }
