"""Python's ssl module: visits the server COUNT times, resuming the session of the visit before."""

import socket
import ssl
import sys

address, port, name, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
session = None
for _ in range(count):
    with socket.create_connection((address, port), timeout=10) as tcp:
        with context.wrap_socket(tcp, server_hostname=name, session=session) as tls:
            tls.sendall(f"GET /health HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while chunk := tls.recv(4096):
                answer += chunk
            # TLS 1.3 brings its tickets after the handshake.
            session = tls.session
    if not answer.startswith(b"HTTP/1.1 200 "):
        sys.exit(f"odd answer: {answer[:80]}")
