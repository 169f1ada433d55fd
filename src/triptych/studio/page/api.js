// The studio's API from the page: JSON, server-sent events over fetch, files, and the gallery's recorded answers.

export function isAbort(error) { return error?.name === "AbortError"; }

// JSON of a request with its keys sorted and without what is null or only about streaming: equal requests, equal texts.
export function canonical(value) {
  const bare = (one) => Object.fromEntries(Object.keys(one).sort().map((key) => [key, one[key]]).filter(([key, item]) =>
    key !== "stream" && (item ?? null) !== null));
  return JSON.stringify(value, (_, one) => (one && typeof one === "object" && !Array.isArray(one) ? bare(one) : one));
}

// The bytes of base64 text: "u8[...]" of the API.
export function bytesOf(base64) { return Uint8Array.from(atob(base64), (one) => one.charCodeAt(0)); }
export function numbersOf(base64) { return new Uint32Array(bytesOf(base64).buffer); } // "u32[...]"

// Names are those behind /api/: api.post("translate", {...}). recorded: {key: answer} of the gallery, or null.
export function createApi(recorded) {
  function answerOf(method, name, body) {
    const key = `${method} /api/${name} ${body ? canonical(body) : ""}`;
    if (key in recorded) return structuredClone(recorded[key]);
    throw new Error("This page holds recorded answers, and this is not one of them: " +
      "open the studio (triptych studio) to try your own.");
  }

  async function send(name, options) {
    const response = await fetch(`/api/${name}`, { cache: "no-store", ...options }).catch((error) => {
      throw isAbort(error) ? error
        : new Error("The studio does not answer. Is triptych studio still running in its terminal?");
    });
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({ error: `The studio answered with ${response.status}.` }));
    const wait = response.headers.get("Retry-After");
    throw new Error(wait ? `${error} Try again in ${wait} s.` : error);
  }

  const asJson = (body, signal) => ({ method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body), signal });

  return {
    recorded: recorded !== null,

    async get(name) { return recorded ? answerOf("GET", name) : (await send(name)).json(); },

    async post(name, body, { signal } = {}) {
      if (recorded) return answerOf("POST", name, body);
      return (await send(name, asJson(body, signal))).json();
    },

    // Raw bytes of a file: api.upload("picture?model=fashion", file).
    async upload(name, file) {
      if (recorded) throw new Error("Files can be given to the studio (triptych studio), not to this page.");
      return (await send(name, { method: "POST", body: file })).json();
    },

    // Events {event, data} of a request as they come: start, those of the endpoint, done. "error" is thrown.
    async *stream(name, body, { signal }) {
      const events = recorded ? ["start", "done"].map((event) => ({ event, data: answerOf("POST", name, body) }))
        : eventsOf(await send(name, asJson({ ...body, stream: true }, signal)));
      for await (const one of events) {
        if (one.event === "error") throw new Error(one.data.error);
        yield one;
      }
    },
  };
}

// A block of a stream is a line of its event and a line of its data, and an empty line.
async function* eventsOf(response) {
  let waiting = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (waiting + text).split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) {
      const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(block);
      yield { event, data: JSON.parse(data) };
    }
  }
}
