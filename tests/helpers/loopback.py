"""A loopback server that speaks the OpenAI chat API: Inspect's `openai-api/loopback/...` talks to it, nothing leaves
the machine.

Main objects: `Loopback(script)`, `completion` (the body of an answer), `CLAIM`, `ANSWER` (a text that holds it),
`judging` (a script that answers as a judge of evidence).
Example: `Loopback(lambda request, n: 429 if n == 1 else completion())`; the fixture `serve` starts one
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLAIM = {"verdict": "objective", "confidence": 0.8, "statement": "It bakes hot.", "keywords": ["cake", "450"]}
ANSWER = f"I think:\n```json\n{json.dumps(CLAIM)}\n```"


def completion(text: str | None = ANSWER, calls=(), finish: str = "stop", **message) -> dict:
    """The body of a chat completion."""
    tool_calls = [{"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
                  for i, (name, given) in enumerate(calls)]
    said = {"role": "assistant", "content": text} | ({"tool_calls": tool_calls} if calls else {}) | message
    return {"id": "chat-1", "object": "chat.completion", "created": 1, "model": "scripted",
            "choices": [{"index": 0, "message": said, "finish_reason": "tool_calls" if calls else finish}],
            "usage": {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}}


def judging(coherent=lambda text: True, best=lambda lists: (1, "1")):
    """A script: `coherent(text)` decides on a text; `best(lists)` names the best list of words, and words of it."""
    def script(request, n: int) -> dict:
        prompt = request["messages"][-1]["content"]
        data = prompt.split("[BEGIN DATA]\n")[1].split("\n[END DATA]")[0]
        if "GRADE: COHERENT" in prompt:
            return completion(f"I see.\nGRADE: {'COHERENT' if coherent(data) else 'INCOHERENT'}")
        lists = [[json.loads(word) for word in re.findall(r'\d+\. ("(?:[^"\\]|\\.)*")', line)]
                 for line in data.splitlines()]
        return completion("I see.\nBEST: {}\nWORDS: {}".format(*best(lists)))

    return script


class Loopback:
    """A chat API on 127.0.0.1. `script(request, n)` gives, for the n-th request, a body, a status, bytes or "stall"."""

    def __init__(self, script) -> None:
        self.script, self.requests, self.gone = script, [], threading.Event()
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                loopback.requests.append(request)
                reply = loopback.script(request, len(loopback.requests))
                if reply == "stall":
                    loopback.gone.wait(60)
                    return
                status = reply if isinstance(reply, int) else 200
                body = reply if isinstance(reply, bytes) else json.dumps(
                    {"error": {"message": "scripted", "type": "x"}} if status != 200 else reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.gone.set()
        self.server.shutdown()
        self.server.server_close()
