// The studio's API from the page: JSON, server-sent events over fetch, files, and the gallery's recorded answers.

export class ApiError extends Error {
  constructor(message, status = 0, retryAfter = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export function isAbort(error) {
  return error?.name === "AbortError";
}

// JSON of a request with its keys sorted and without what is null or only about streaming: equal requests, equal texts.
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value && typeof value === "object") {
    const keys = Object.keys(value).filter((key) => key !== "stream" && (value[key] ?? null) !== null).sort();
    return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  return value === undefined ? "null" : JSON.stringify(value);
}

// The bytes of base64 text: "u8[...]" of the API.
export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
}

// Names are those behind /api/: api.post("translate", {...}). recorded: {key: answer} of the gallery, or null.
export function createApi(recorded = null, base = "/api/") {
  function answerOf(method, name, body) {
    const key = `${method} ${base}${name} ${(body ?? null) === null ? "" : canonical(body)}`;
    if (!(key in recorded)) {
      throw new ApiError("This page holds recorded answers, and this is not one of them: " +
        "open the studio (triptych studio) to try your own.", 404);
    }
    return structuredClone(recorded[key]);
  }

  async function send(name, options) {
    let response;
    try {
      response = await fetch(base + name, { cache: "no-store", ...options });
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new ApiError("The studio does not answer. Is triptych studio still running in its terminal?");
    }
    if (response.ok) return response;
    const wait = Number(response.headers.get("Retry-After")) || null;
    let message = `The studio answered with status ${response.status}.`;
    try {
      message = (await response.json()).error ?? message;
    } catch { /* not JSON: the status is all there is */ }
    throw new ApiError(response.status === 503 ? `${message} Try again in ${wait ?? 1} s.` : message,
      response.status, wait);
  }

  function sent(body, accept, signal) {
    const headers = { "Content-Type": "application/json", Accept: accept };
    return { method: "POST", headers, body: JSON.stringify(body), signal };
  }

  return {
    recorded: recorded !== null,

    async get(name, { signal } = {}) {
      if (recorded) return answerOf("GET", name);
      return (await send(name, { signal })).json();
    },

    async post(name, body, { signal } = {}) {
      if (recorded) return answerOf("POST", name, body);
      return (await send(name, sent(body, "application/json", signal))).json();
    },

    // Raw bytes of a file: api.upload("picture?model=fashion", file).
    async upload(name, file, { signal } = {}) {
      if (recorded) throw new ApiError("Files can be given to the studio (triptych studio), not to this page.");
      const headers = { "Content-Type": "application/octet-stream" };
      return (await send(name, { method: "POST", headers, body: file, signal })).json();
    },

    // Events {event, data} of a request as they come: start, those of the endpoint, done. "error" is thrown.
    async *stream(name, body, { signal } = {}) {
      const events = recorded
        ? replayed(answerOf("POST", name, body))
        : eventsOf(await send(name, sent({ ...body, stream: true }, "text/event-stream", signal)));
      for await (const one of events) {
        if (one.event === "error") throw new ApiError(one.data.error, one.data.status);
        yield one;
      }
    },
  };
}

async function* replayed(answer) {
  yield { event: "start", data: answer };
  yield { event: "done", data: answer };
}

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      waiting += value.replace(/\r\n?/g, "\n");
      const blocks = waiting.split("\n\n");
      waiting = blocks.pop();
      for (const block of blocks) {
        const event = parsedEvent(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsedEvent(block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
    if (field === "event") event = value;
    if (field === "data") data.push(value);
  }
  return data.length ? { event, data: JSON.parse(data.join("\n")) } : null;
}
