#!/usr/bin/env python3
"""A plexus 3.0 peer for tests, made from the facts about its protocol alone: Python's standard library and openssl.

It shares no code with the project. It is the plain peer: it says each datagram once, waits 1.6 s for an answer, closes
its port when it is done, and trusts the certificate in its repository as it stands.

  seal       writes the mail around a message to standard output
  open       reads a mail from standard input and prints its message
  handshake  does the UDP handshake alone
  pair       a whole pairing, by files in a directory or by SMTP and IMAP over TLS

`pair` says what happens in lines of JSON on standard output: {"event": "posted"}, then {"event": "paired", …}.
"""

import argparse
import imaplib
import json
import os
import re
import secrets
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

RESPONSE_WAIT = 60.0
HANDSHAKE_WAIT = 60.0
CALL_WAIT = 1.6
POLL = 0.05


# Identities and the application repository


class Repository:
    def __init__(self, path):
        self.path = path

    def cert(self, identity):
        return os.path.join(self.path, *split(identity), "cert.crt")

    def key(self, identity):
        return os.path.join(self.path, *split(identity), "private.key")


def split(identity):
    owner, pin = identity.split("/")
    return owner, pin


def address(identity):
    owner, pin = split(identity)
    return f"{pin} <{owner}>"


# S/MIME, by openssl


def openssl(arguments, data):
    done = subprocess.run(["openssl", *arguments], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError("openssl " + arguments[1] + ": " + done.stderr.decode(errors="replace").strip())
    return done.stdout


def seal(repository, sender, recipient, message):
    signed = openssl(
        ["smime", "-sign", "-nocerts", "-signer", repository.cert(sender), "-inkey", repository.key(sender)],
        message.encode(),
    )
    return openssl(["smime", "-encrypt", "-des3", repository.cert(recipient)], signed)


def unseal(repository, recipient, sender, entity):
    signed = openssl(
        ["smime", "-decrypt", "-recip", repository.cert(recipient), "-inkey", repository.key(recipient)], entity
    )
    signed = signed.replace(b"\r\n", b"\n")
    content = openssl(["smime", "-verify", "-noverify", "-nointern", "-certfile", repository.cert(sender)], signed)
    return content.decode().strip()


# The mail


def boundary(identity):
    return "----" + split(identity)[0].encode().hex()


def write_mail(repository, sender, recipient, app, kind, message):
    entity = seal(repository, sender, recipient, message)
    mark = boundary(sender)
    head = (
        f"From: {address(sender)}\n"
        f"To: {address(recipient)}\n"
        f"Subject: {app} {kind}\n"
        "MIME-Version: 1.0\n"
        f"Content-Type: multipart/mixed; boundary={mark}\n"
        "\n"
        f"--{mark}\n"
    )
    whole = head.encode() + entity + f"\n--{mark}--\n".encode()
    return whole.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def read_body(repository, recipient, sender, body):
    body = body.replace(b"\r\n", b"\n")
    mark = re.escape(("--" + boundary(sender)).encode())
    found = re.search(b"(?:^|\n)" + mark + b"\n(.*?)\n" + mark + b"--", body, re.DOTALL)
    if not found:
        raise ValueError("no part of that sender")
    return unseal(repository, recipient, sender, found.group(1))


def read_mail(repository, recipient, sender, app, kind, mail):
    """Headers are compared as a server's literal search would: unquoted, unencoded, unfolded."""
    head, _, body = mail.replace(b"\r\n", b"\n").partition(b"\n\n")
    lines = head.decode().split("\n")
    wanted = (f"From: {address(sender)}", f"To: {address(recipient)}", f"Subject: {app} {kind}")
    for line in wanted:
        if line not in lines:
            raise ValueError("no header " + line)
    return read_body(repository, recipient, sender, body)


# The message


def write_message(ip, port, puzzle):
    return f"PLEXUS 3.0 {ip} {port} {puzzle}"


def read_message(text):
    found = re.fullmatch(r"\s*PLEXUS 3\.0 (\S+) (\d+) (\d+)\s*", text)
    if not found:
        raise ValueError("not a message of 3.0: " + text)
    return found.group(1), int(found.group(2)), int(found.group(3))


# The UDP handshake


def datagram(flag, secret):
    data = bytearray(secrets.token_bytes(7))
    data[0] = data[0] | 1 if flag else data[0] & 0xFE
    last = 0
    for byte in data:
        last ^= byte
    data.append(last)
    return bytes(byte ^ ((secret >> (8 * i)) & 0xFF) for i, byte in enumerate(data))


def flag_of(data, secret):
    if len(data) != 8:
        return None
    plain = [byte ^ ((secret >> (8 * i)) & 0xFF) for i, byte in enumerate(data)]
    rest = 0
    for byte in plain:
        rest ^= byte
    return plain[0] & 1 if rest == 0 else None


class Line:
    """The port, the peer at the other end, and a fault that loses this side's first flag 1."""

    def __init__(self, port, peer, secret, lose):
        self.port, self.peer, self.secret, self.lose = port, peer, secret, lose

    def send(self, flag, ttl=64):
        if flag == 1 and self.lose:
            self.lose = False
            return
        level, option = socket.IPPROTO_IP, socket.IP_TTL
        if self.port.family == socket.AF_INET6:
            level, option = socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS
        self.port.setsockopt(level, option, ttl)
        try:
            self.port.sendto(datagram(flag, self.secret), self.peer)
        except OSError:
            pass

    def receive(self, until):
        """A flag of the peer, or None when the time is up."""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return None
            self.port.settimeout(left)
            try:
                data, sender = self.port.recvfrom(2048)
            except (socket.timeout, ConnectionError):
                continue
            if sender[:2] != self.peer[:2]:
                continue
            flag = flag_of(data, self.secret)
            if flag is not None:
                return flag


def shake_as_inviter(line):
    end = time.monotonic() + HANDSHAKE_WAIT
    while time.monotonic() < end:
        line.send(0)
        pause = time.monotonic() + CALL_WAIT
        flag = line.receive(pause)
        while flag == 0:
            flag = line.receive(pause)
        if flag == 1:
            line.send(1)
            return
    raise TimeoutError("no answer to the handshake")


def shake_as_accepter(line, hops, server):
    line.send(0, ttl=hops)
    end = time.monotonic() + HANDSHAKE_WAIT
    while True:
        flag = line.receive(end)
        if flag is None:
            raise TimeoutError("no handshake")
        if flag == 0 or server:
            line.send(1)
        if flag == 1 or server:
            return


# The public endpoint


def public_endpoint(port, server):
    """RFC 8489: a binding request from the port that will shake hands, and the XOR-MAPPED-ADDRESS of its answer (IPv4)."""
    cookie = bytes.fromhex("2112a442")
    request = b"\x00\x01\x00\x00" + cookie + secrets.token_bytes(12)
    for wait in (0.2, 0.4, 0.8, 1.6, 3.2):
        port.sendto(request, server)
        port.settimeout(wait)
        try:
            data = port.recv(2048)
        except (socket.timeout, ConnectionError):
            continue
        if data[:2] != b"\x01\x01" or data[4:20] != request[4:]:
            continue
        at = 20
        while at + 4 <= len(data):
            kind, length = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
            value = data[at + 4 : at + 4 + length]
            if kind == 0x0020 and value[1] == 1:
                number = int.from_bytes(value[2:4], "big") ^ 0x2112
                return ".".join(str(a ^ b) for a, b in zip(value[4:8], cookie)), number
            at += 4 + (length + 3) // 4 * 4
    raise TimeoutError("no answer of the STUN server")


# How the mails get there


class Directory:
    def __init__(self, path):
        self.path = path

    def post(self, kind, mail):
        with tempfile.NamedTemporaryFile(dir=self.path, delete=False) as file:
            file.write(mail)
        os.rename(file.name, os.path.join(self.path, kind + ".eml"))

    def fetch(self, kind, end):
        path = os.path.join(self.path, kind + ".eml")
        while not os.path.exists(path):
            if time.monotonic() > end:
                raise TimeoutError("no " + kind)
            time.sleep(POLL)
        with open(path, "rb") as file:
            return file.read()

    def close(self):
        pass


class Mailbox:
    """Submission and INBOX over implicit TLS; only mail that came after the start is looked at."""

    def __init__(self, options):
        self.options = options
        self.tls = ssl.create_default_context(cafile=options.ca)
        host, port = options.imap.rsplit(":", 1)
        self.imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=self.tls)
        self.imap.login(options.login, self.password())
        self.imap.select("INBOX")
        found = self.imap.uid("SEARCH", "ALL")[1][0].split()
        self.above = max((int(uid) for uid in found), default=0)

    def password(self):
        return os.environ[self.options.password_env]

    def post(self, _kind, mail):
        host, port = self.options.smtp.rsplit(":", 1)
        with smtplib.SMTP_SSL(host, int(port), local_hostname="localhost", context=self.tls) as smtp:
            smtp.login(self.options.login, self.password())
            smtp.sendmail(split(self.options.me)[0], [split(self.options.peer)[0]], mail)

    def fetch(self, kind, end):
        """The mail as the headers that were searched for, and its text."""
        options = self.options
        heads = [("FROM", address(options.peer)), ("TO", address(options.me)), ("SUBJECT", f"{options.app} {kind}")]
        criteria = [word for name, text in heads for word in (name, '"' + text + '"')]
        while time.monotonic() < end:
            self.imap.noop()
            found = self.imap.uid("SEARCH", "UID", f"{self.above + 1}:*", *criteria)[1][0].split()
            for uid in sorted(int(uid) for uid in found if int(uid) > self.above):
                self.above = uid
                parts = self.imap.uid("FETCH", str(uid), "(BODY.PEEK[TEXT])")[1]
                self.imap.uid("STORE", str(uid), "+FLAGS", "(\\Deleted)")
                head = "\n".join(f"{name.capitalize()}: {text}" for name, text in heads)
                return head.encode() + b"\n\n" + parts[0][1]
            time.sleep(POLL)
        raise TimeoutError("no " + kind)

    def close(self):
        self.imap.logout()


# A whole pairing


def say(**event):
    print(json.dumps(event), flush=True)


def endpoint(text):
    ip, port = text.rsplit(":", 1)
    return ip.strip("[]"), int(port)


def bound(at):
    port = socket.socket(socket.AF_INET6 if ":" in at[0] else socket.AF_INET, socket.SOCK_DGRAM)
    port.bind(at)
    return port


def pair(options):
    repository = Repository(options.repo)
    way = Directory(options.mail_dir) if options.mail_dir else Mailbox(options)
    own, other = ("invite", "accept") if options.role == "inviter" else ("accept", "invite")
    port = bound(endpoint(options.bind))
    if options.stun:
        outer = public_endpoint(port, endpoint(options.stun))
    else:
        outer = endpoint(options.outer) if options.outer else port.getsockname()[:2]
    puzzle = secrets.randbits(64)

    def post():
        message = write_message(outer[0], outer[1], puzzle)
        way.post(own, write_mail(repository, options.me, options.peer, options.app, own, message))
        say(event="posted", outer=f"{outer[0]}:{outer[1]}")

    def fetch():
        mail = way.fetch(other, time.monotonic() + RESPONSE_WAIT)
        return read_message(read_mail(repository, options.me, options.peer, options.app, other, mail))

    if options.role == "inviter":
        post()
        ip, number, theirs = fetch()
    else:
        say(event="waiting")
        ip, number, theirs = fetch()
        post()
    way.close()
    secret = puzzle ^ theirs
    shake(options, Line(port, (ip, number), secret, options.lose_last))
    port.close()
    say(event="paired", secret=str(secret), peer=f"{ip}:{number}")


def shake(options, line):
    if options.role == "inviter":
        shake_as_inviter(line)
    else:
        shake_as_accepter(line, options.hops, options.server)


def handshake(options):
    line = Line(bound(endpoint(options.bind)), endpoint(options.remote), options.secret, options.lose_last)
    shake(options, line)
    line.port.close()
    say(event="paired", secret=str(options.secret), peer=options.remote)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def mail_options(command):
        command.add_argument("--repo", required=True)
        command.add_argument("--me", required=True, help="owner/pin")
        command.add_argument("--peer", required=True, help="owner/pin")
        command.add_argument("--app", default="plexus")

    def shake_options(command):
        command.add_argument("--role", choices=("inviter", "accepter"), required=True)
        command.add_argument("--bind", required=True, help="ip:port of the UDP port")
        command.add_argument("--hops", type=int, default=7)
        command.add_argument("--server", action="store_true", help="accepter: done on the first valid datagram")
        command.add_argument("--lose-last", action="store_true", help="the first flag 1 of this side is lost")

    sealing = commands.add_parser("seal")
    opening = commands.add_parser("open")
    for command in (sealing, opening):
        mail_options(command)
        command.add_argument("--kind", choices=("invite", "accept"), required=True)
    sealing.add_argument("--message", required=True)
    shaking = commands.add_parser("handshake")
    shake_options(shaking)
    shaking.add_argument("--remote", required=True, help="ip:port of the peer")
    shaking.add_argument("--secret", type=int, required=True)
    pairing = commands.add_parser("pair")
    mail_options(pairing)
    shake_options(pairing)
    pairing.add_argument("--outer", help="ip:port to tell the peer, if it is not that of the port")
    pairing.add_argument("--stun", help="ip:port of a STUN server that tells it")
    pairing.add_argument("--mail-dir", help="a directory where the mails lie as invite.eml and accept.eml")
    pairing.add_argument("--smtp", help="host:port, TLS")
    pairing.add_argument("--imap", help="host:port, TLS")
    pairing.add_argument("--login")
    pairing.add_argument("--password-env", help="the environment variable that holds the password")
    pairing.add_argument("--ca", help="the authority of the servers, as PEM")

    options = parser.parse_args()
    if options.command == "seal":
        repository = Repository(options.repo)
        mail = write_mail(repository, options.me, options.peer, options.app, options.kind, options.message)
        sys.stdout.buffer.write(mail)
    elif options.command == "open":
        mail = sys.stdin.buffer.read()
        print(read_mail(Repository(options.repo), options.me, options.peer, options.app, options.kind, mail))
    elif options.command == "handshake":
        handshake(options)
    else:
        pair(options)


if __name__ == "__main__":
    main()
