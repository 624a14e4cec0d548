#!/usr/bin/env python3
"""A GCS server for tests: fake-gcs-server, and before it what it lacks of the XML interface that object_store speaks.

    gcs.py PORT INNER_PORT FAKE_GCS_SERVER BUCKET...

It reads by itself in XML, and writes in JSON only: writes, deletions and uploads in parts are translated. Its
conditions on a generation are kept, as it checks them while it stores (only for uploads that are `multipart`).
"""
import ctypes
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

HOST = "127.0.0.1"
PORT, INNER_PORT, PROGRAM, *BUCKETS = sys.argv[1:]
CONDITION = "x-goog-if-generation-match"
# The parts of uploads that are not complete, by upload and number.
uploads = {}
lock = threading.Lock()


def ask(method, path, body=None, headers=None):
    """What fake-gcs-server answers: status, headers, body."""
    connection = http.client.HTTPConnection(HOST, int(INNER_PORT), timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def store(bucket, name, body, content_type, generation):
    """Stores an object on the condition that its generation is this one, if one is given."""
    path = f"/upload/storage/v1/b/{quote(bucket, safe='')}/o?uploadType=multipart"
    if generation is not None:
        path += f"&ifGenerationMatch={generation}"
    content_type = content_type or "application/octet-stream"
    boundary = uuid.uuid4().hex
    meta = json.dumps({"name": name, "contentType": content_type})
    head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{meta}\r\n--{boundary}\r\n"
    head += f"Content-Type: {content_type}\r\n\r\n"
    body = head.encode() + body + f"\r\n--{boundary}--\r\n".encode()
    return ask("POST", path, body, {"Content-Type": f"multipart/related; boundary={boundary}"})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, headers=None, body=b""):
        headers = headers or {}
        own = ("content-length", "transfer-encoding", "connection")
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in own:
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_stored(self, status, headers, body, of_parts=False):
        if status >= 300:
            return self.answer(status, headers, body)
        stored = json.loads(body)
        stored = stored.get("resource", stored)
        etag = '"%s"' % stored["etag"].strip('"')
        headers = {"ETag": etag, "x-goog-generation": stored["generation"], "Content-Type": "application/xml"}
        xml = f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        self.answer(200, headers, xml.encode() if of_parts else b"")

    def handle_one(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        _, bucket, *name = url.path.split("/", 2)
        name = unquote(name[0]) if name else ""
        if self.command in ("GET", "HEAD"):
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            return self.answer(*ask(self.command, self.path, None, headers))
        if "uploads" in query or "uploadId" in query:
            return self.in_parts(bucket, name, query, body)
        if self.command == "DELETE":
            status, _, _ = ask("DELETE", f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}")
            return self.answer(204 if status < 300 else status)
        if "x-goog-copy-source" in self.headers:
            return self.copy(bucket, name)
        content_type, generation = self.headers.get("content-type"), self.headers.get(CONDITION)
        self.answer_stored(*store(bucket, name, body, content_type, generation))

    def in_parts(self, bucket, name, query, body):
        upload = query.get("uploadId")
        if upload is None:
            upload = uuid.uuid4().hex
            uploads[upload] = {}
            xml = f"<Bucket>{bucket}</Bucket><UploadId>{upload}</UploadId>"
            xml = f"<InitiateMultipartUploadResult>{xml}<Key></Key></InitiateMultipartUploadResult>"
            return self.answer(200, {"Content-Type": "application/xml"}, xml.encode())
        with lock:
            parts = uploads.get(upload)
            if parts is None:
                return self.answer(404)
            if self.command == "DELETE":
                del uploads[upload]
                return self.answer(204)
            if self.command == "PUT":
                parts[int(query["partNumber"])] = body
                return self.answer(200, {"ETag": f'"{uuid.uuid4().hex}"'})
        whole = b"".join(parts[number] for number in sorted(parts))
        status, headers, body = store(bucket, name, whole, None, self.headers.get(CONDITION))
        if status < 300:
            uploads.pop(upload, None)
        self.answer_stored(status, headers, body, of_parts=True)

    def copy(self, bucket, name):
        """Reads and stores: a copy that fake-gcs-server makes heeds no condition."""
        source = unquote(self.headers["x-goog-copy-source"]).lstrip("/").split("/", 1)
        path = "/".join(quote(part, safe="") for part in source)
        status, headers, body = ask("GET", f"/{path}")
        if status >= 300:
            return self.answer(status, headers, body)
        content_type, generation = headers.get("Content-Type"), self.headers.get(CONDITION)
        self.answer_stored(*store(bucket, name, body, content_type, generation))

    do_GET = do_HEAD = do_DELETE = do_PUT = do_POST = handle_one


def dies_with_its_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def start_inner():
    url = f"http://{HOST}:{INNER_PORT}"
    flags = ["-scheme", "http", "-host", HOST, "-port", INNER_PORT, "-backend", "memory"]
    flags += ["-external-url", url, "-public-host", f"{HOST}:{INNER_PORT}"]
    inner = subprocess.Popen([PROGRAM, *flags], preexec_fn=dies_with_its_parent)
    until = time.monotonic() + 20
    while True:
        try:
            for bucket in BUCKETS:
                ask("POST", "/storage/v1/b?project=tests", json.dumps({"name": bucket}))
            return
        except OSError as error:
            if inner.poll() is not None or time.monotonic() > until:
                sys.exit(f"fake-gcs-server does not start: {error}")
        time.sleep(0.02)


start_inner()
ThreadingHTTPServer((HOST, int(PORT)), Handler).serve_forever()
