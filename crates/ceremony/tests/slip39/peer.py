"""The reference implementation, package shamir-mnemonic: one JSON request a line in, one JSON answer a line out."""

import json
import sys

from shamir_mnemonic.shamir import combine_mnemonics, generate_mnemonics
from shamir_mnemonic.utils import MnemonicError


def answer(request):
    passphrase = request["passphrase"].encode()
    if "shares" in request:
        try:
            return {"secret": combine_mnemonics(request["shares"], passphrase).hex()}
        except MnemonicError as error:
            return {"error": str(error)}
    groups = generate_mnemonics(
        request["group_threshold"],
        [tuple(group) for group in request["groups"]],
        bytes.fromhex(request["secret"]),
        passphrase,
        request["extendable"],
        request["iteration_exponent"],
    )
    return {"shares": [share for group in groups for share in group]}


requests = [json.loads(line) for line in sys.stdin]
for request in requests:
    print(json.dumps(answer(request)))
