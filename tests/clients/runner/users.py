"""Makes a user over gRPC, with the environment of a Python client: what most clients cannot do.

users.py ADDRESS CA_FILE LOGIN PASSWORD
"""

import base64
import sys

import grpc


def field(number, data):
    """A length-delimited protobuf field of less than 128 bytes."""
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


address, ca_file, login, password = sys.argv[1:]
with open(ca_file, "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())
options = field(1, login.encode()) + field(2, password.encode()) + field(3, b"A user of tests")
with grpc.secure_channel(address, credentials) as channel:
    create = channel.unary_unary("/event_store.client.users.Users/Create")
    basic = base64.b64encode(b"admin:changeit").decode()
    metadata = [("authorization", f"Basic {basic}")]
    create(field(1, options), metadata=metadata, timeout=10)
