# An MCP server with its own authorization server (PyPI fastmcp), all of it in memory: registration without management,
# redirect URIs compared to the port, no page.
#
#   [BARE=1] python server.py
#
# BARE=1: without a session for each client, so GET is refused before a token is looked for; and without default scopes.
#
# Prints one JSON line {"ready":true,"issuer":...} on stdout when it listens; ends when stdin ends.
import json
import os
import socket
import sys
import threading
import time

from fastmcp import FastMCP
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
bare = bool(os.environ.get("BARE"))
base = f"http://127.0.0.1:{port}"
auth = InMemoryOAuthProvider(
    base_url=base,
    client_registration_options=ClientRegistrationOptions(
        enabled=True, valid_scopes=["read", "write"], default_scopes=None if bare else ["read"]
    ),
    revocation_options=RevocationOptions(enabled=True),
    required_scopes=["read"],
)
mcp = FastMCP("demo", auth=auth)


@mcp.tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


def ready():
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    print(json.dumps({"ready": True, "issuer": base}), file=out, flush=True)


def end():
    sys.stdin.read()
    os._exit(0)


# What the server prints itself is its log.
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
threading.Thread(target=ready, daemon=True).start()
threading.Thread(target=end, daemon=True).start()
mcp.run(transport="http", host="127.0.0.1", port=port, path="/mcp", show_banner=False, stateless_http=bare)
