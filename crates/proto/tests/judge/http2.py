"""Asks another implementation what it thinks of the HTTP/2 machine: python's h2 as a client, python's hpack as a codec.

    cargo build -p daemun-proto --example http2_pipe
    python3 crates/proto/tests/judge/http2.py target/debug/examples/http2_pipe [seed]

It needs the packages h2 and hpack (Debian: python3-h2, python3-hpack).
"""

import os
import random
import select
import subprocess
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack

program = sys.argv[1]
seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
random.seed(seed)
print("seed", seed)


def word(alphabet, most):
    return "".join(random.choice(alphabet) for _ in range(random.randrange(1, most)))


def some_fields():
    names = ["accept", "user-agent", "x-" + word("abcdef-", 9), "cookie", "authorization", "etag"]
    values = ["*/*", "gzip", word("".join(map(chr, range(33, 127))), 60), word("0123456789abcdef", 900)]
    return [(random.choice(names), random.choice(values)) for _ in range(random.randrange(12))]


class Talk:
    """A client on both pipes of the server."""

    def __init__(self):
        self.server = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        self.client = h2.connection.H2Connection(config)
        codes = h2.settings.SettingCodes
        self.client.local_settings = h2.settings.Settings(client=True, initial_values={
            codes.INITIAL_WINDOW_SIZE: random.choice([2000, 65535, 1 << 20]),
            codes.MAX_FRAME_SIZE: random.choice([16384, 20000, 1 << 20]),
            codes.HEADER_TABLE_SIZE: random.choice([0, 100, 4096, 65536]),
        })
        # What the constructor has taken from the settings before.
        self.client.max_inbound_frame_size = self.client.local_settings.max_frame_size
        self.client.incoming_buffer.max_frame_size = self.client.local_settings.max_frame_size
        self.client.decoder.max_allowed_table_size = self.client.local_settings.header_table_size
        self.client.initiate_connection()
        self.bodies, self.ended, self.heads = {}, set(), {}
        self.flush()

    def flush(self):
        """Writes all there is, and reads what would hold up the server meanwhile."""
        data = self.client.data_to_send()
        while data:
            into, out_of = self.server.stdin.fileno(), self.server.stdout.fileno()
            readable, writable, _ = select.select([out_of], [into], [])
            if readable:
                self.take()
                data += self.client.data_to_send()
            if writable:
                length = random.choice([1, 9, 100, 4096])
                data = data[os.write(into, data[:length]):]

    def read(self):
        self.take()
        self.flush()

    def take(self):
        data = os.read(self.server.stdout.fileno(), 1 << 16)
        assert data, "the server has ended"
        for event in self.client.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.heads[event.stream_id] = event.headers
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, (h2.events.ConnectionTerminated, h2.events.StreamReset)):
                raise AssertionError(event)

    def end(self):
        self.server.stdin.close()
        assert self.server.wait() == 0


def expected(pseudo, fields, body, trailers):
    rest = [field for field in fields if field[0] != "cookie"]
    crumbs = [value for name, value in fields if name == "cookie"]
    if crumbs:
        rest.append(("cookie", "; ".join(crumbs)))
    text = "".join(f"{name}: {value}\n" for name, value in pseudo + rest).encode("latin-1")
    return text + body + "".join(f"trailer {name}: {value}\n" for name, value in trailers).encode("latin-1")


def conversation():
    talk = Talk()
    answers = {}
    for _ in range(random.randrange(1, 25)):
        stream = talk.client.get_next_available_stream_id()
        pseudo = [(":method", random.choice(["GET", "POST", "PATCH"])), (":scheme", "https"),
                  (":authority", random.choice(["a", "www.example.com"])), (":path", "/" + word("abc/?=%", 40))]
        fields = some_fields()
        body = os.urandom(random.choice([0, 1, 1000, 20000]))
        trailers = [("x-sum", "1")] if body and random.random() < 0.3 else []
        if random.random() < 0.2:
            talk.client.encoder.header_table_size = random.choice([0, 64, 1000, 4096])
        fields = [field for field in fields if field[0] != "host"]
        talk.client.send_headers(stream, pseudo + fields, end_stream=not body)
        rest = body
        while rest:
            room = min(talk.client.local_flow_control_window(stream), talk.client.max_outbound_frame_size, 5000)
            if room == 0:
                talk.flush()
                talk.read()
                continue
            padding = random.choice([None, None, 0, 9, 200])
            room -= 0 if padding is None else padding + 1
            if room <= 0:
                continue
            piece, rest = rest[:room], rest[room:]
            talk.client.send_data(stream, piece, end_stream=not rest and not trailers, pad_length=padding)
        if trailers:
            talk.client.send_headers(stream, trailers, end_stream=True)
        answers[stream] = expected(pseudo, fields, body, trailers)
        talk.flush()
        if random.random() < 0.5:
            talk.client.ping(b"12345678")
    talk.flush()
    while len(talk.ended) < len(answers):
        talk.read()
    for stream, answer in answers.items():
        assert talk.bodies[stream] == answer, (talk.bodies[stream][:2000], answer[:2000])
        names = dict(talk.heads[stream])
        assert names["content-length"] == str(len(answer)) and names["x-long"] == "~" * 20000
    talk.end()
    return len(answers)


def blocks():
    """Blocks of python's encoder, and such as have been damaged: the decoders have to agree."""
    server = subprocess.Popen([program, "fields"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ours(block):
        server.stdin.write(block.hex() + "\n")
        server.stdin.flush()
        return server.stdout.readline().strip()

    counts = {"same": 0, "refused": 0}
    for _ in range(400):
        server.stdin.write("new\n")
        encoder, decoder = hpack.Encoder(), hpack.Decoder(max_header_list_size=60000)
        for _ in range(20):
            if random.random() < 0.2:
                encoder.header_table_size = random.choice([0, 40, 200, 4096])
            fields = some_fields() + [(word("".join(map(chr, range(1, 256))), 9), word("".join(map(chr, range(256))), 30))]
            random.shuffle(fields)
            fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
            block = bytearray(encoder.encode(fields, huffman=random.random() < 0.7))
            if random.random() < 0.3:
                for _ in range(random.choice([1, 1, 3])):
                    block[random.randrange(len(block))] = random.randrange(256)
            if random.random() < 0.1:
                del block[random.randrange(len(block)):]
            verdict = ours(bytes(block))
            try:
                theirs = "".join(f"{name.hex()}={value.hex()};" for name, value in decoder.decode(bytes(block), raw=True))
            except Exception as error:
                assert verdict.startswith("flaw"), (error, block.hex(), verdict)
                counts["refused"] += 1
                break
            if verdict.startswith("flaw"):
                print("only we refuse", verdict, block.hex()[:80])
                counts[verdict] = counts.get(verdict, 0) + 1
                break
            assert verdict == theirs, (block.hex(), verdict, theirs)
            counts["same"] += 1
    server.stdin.close()
    assert server.wait() == 0
    return counts


print("blocks", blocks())
print("requests", sum(conversation() for _ in range(40)))
