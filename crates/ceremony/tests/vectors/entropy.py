"""Writes entropy.json: what crates/ceremony/src/entropy.rs must give, computed from the texts of the
standards with exact decimals and Python's own HMAC, and nothing of Keyward.

    python3 crates/ceremony/tests/vectors/entropy.py > crates/ceremony/tests/vectors/entropy.json
"""

import hashlib
import hmac
import json
import random
from decimal import Decimal, getcontext
from math import comb

getcontext().prec = 100

# name, thousandths of a bit a symbol, window of the adaptive proportion test
SOURCES = [
    ("operating-system", 8000, 512),
    ("dice", 2000, 512),
    ("coins", 500, 1024),
    ("hsm", 4000, 512),
]
ALPHA = 30


def repetition(millibits, alpha):
    """SP 800-90B 4.4.1: C = 1 + ceil(-log2(alpha) / H)."""
    return 1 + -(-alpha * 1000 // millibits)


def proportion(window, millibits, alpha):
    """SP 800-90B 4.4.2: C = 1 + CRITBINOM(W, 2^-H, 1 - alpha), with the tail summed exactly."""
    likely = Decimal(2) ** (-Decimal(millibits) / 1000)
    limit = Decimal(2) ** -alpha
    above, count = Decimal(0), window
    while count > 0:
        here = comb(window, count) * likely**count * (1 - likely) ** (window - count)
        if above + here > limit:
            break
        above, count = above + here, count - 1
    return 1 + count


def log2(value):
    return value.ln() / Decimal(2).ln()


def credit(symbols, millibits):
    """The smaller of what is assumed and the estimate of SP 800-90B 6.3.1, at most 256 bits."""
    total = len(symbols)
    if total < 2:
        return 0
    share = Decimal(max(symbols.count(value) for value in set(symbols))) / total
    bound = min(Decimal(1), share + Decimal("2.576") * (share * (1 - share) / (total - 1)).sqrt())
    return min(256, int(total * min(Decimal(millibits) / 1000, -log2(bound))))


def contribution(name, symbols):
    millibits, window = {n: (m, w) for n, m, w in SOURCES}[name]
    window = min(window, len(symbols))
    return {
        "source": name,
        "symbols": len(symbols),
        "millibits": millibits,
        "repetition_cutoff": repetition(millibits, ALPHA),
        "proportion_window": window,
        "proportion_cutoff": proportion(window, millibits, ALPHA),
        "bits": credit(symbols, millibits),
    }


def mix(given):
    """RFC 5869 with SHA-256; given maps names to symbols."""
    material = b""
    for name, _, _ in SOURCES:
        if name in given:
            material += name.encode() + b"\0" + len(given[name]).to_bytes(4, "big") + given[name]
    key = hmac.new(b"keyward/entropy-mix/v1", material, hashlib.sha256).digest()
    return hmac.new(key, b"keyward/master-secret/v1" + b"\1", hashlib.sha256).digest()


def main():
    rng = random.Random(20261121)
    system = bytes(rng.randrange(256) for _ in range(1024))
    dice = "".join(rng.choice("123456") for _ in range(200))
    coins = "".join(rng.choice("ht") for _ in range(600))
    hsm = bytes(rng.randrange(256) for _ in range(512))
    symbols = {"operating-system": system, "dice": dice.encode(), "coins": coins.encode(), "hsm": hsm}
    chosen = [["operating-system"], ["operating-system", "dice"], [name for name, _, _ in SOURCES]]
    loaded = "".join(rng.choices("123456", weights=[2, 2, 2, 2, 2, 6])[0] for _ in range(200))
    even = "123456" * 50
    credits = [("dice", even[:length]) for length in (1, 2, 100, 128, 129, 130, 131, 200)]
    credits += [("dice", dice[:150]), ("dice", loaded)]
    credits += [("coins", ("hthtthht" * 75)[:length]) for length in (511, 512)]
    cutoffs = [(w, m, a) for a in (20, 30) for w, m in
               [(1024, 200), (1024, 400), (1024, 500), (1024, 1000), (600, 500), (512, 500), (512, 1000),
                (512, 2000), (512, 4000), (512, 8000), (200, 2000), (128, 2000), (10, 2000), (1, 8000)]]
    print(json.dumps({
        "inputs": {"operating_system": system.hex(), "dice": dice, "coins": coins, "hsm": hsm.hex()},
        "mixes": [{
            "sources": names,
            "secret": mix({name: symbols[name] for name in names}).hex(),
            "statement": {"sources": [contribution(name, symbols[name]) for name in names]},
        } for names in chosen],
        "credits": [{"source": name, "symbols": text, "bits": credit(text.encode(), dict(
            (n, m) for n, m, _ in SOURCES)[name])} for name, text in credits],
        "cutoffs": [{"window": w, "millibits": m, "alpha_bits": a, "repetition": repetition(m, a),
                     "proportion": proportion(w, m, a)} for w, m, a in cutoffs],
    }, indent=1))


main()
