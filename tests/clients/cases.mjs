// What every npm client is put through; the same as `cases.py`, whose words hold here too.
import { deflateSync, crc32 } from "node:zlib";

export const { GATEWAY, KEY, CONSOLE, TOKEN } = process.env;
export const UPSTREAMS = JSON.parse(process.env.UPSTREAMS);
export const QUESTION = "Which account pays the toll on the northern bridge?";
export const TOOL = "get_balance";
export const ABOUT = "Balance of an account";
export const RESULT = "12 EUR";
export const SCHEMA = {
  type: "object",
  properties: { account: { type: "string" }, amount: { type: "integer" } },
  required: ["account", "amount"],
  additionalProperties: false,
};
export const ARGUMENTS = { type: "object", properties: { account: { type: "string" } }, required: ["account"] };
const OUTPUT_TOKENS = 17;
const CACHED_TOKENS = 5;

/** A PNG of 8 by 8 red pixels, as base64. */
export const PNG = (() => {
  const number = (value) => { const bytes = Buffer.alloc(4); bytes.writeUInt32BE(value >>> 0); return bytes; };
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    return Buffer.concat([number(data.length), body, number(crc32(body))]);
  };
  const rows = Buffer.concat(Array(8).fill(Buffer.from([0, ...Array(8).fill([0xc8, 0x10, 0x10]).flat()])));
  const head = Buffer.concat([number(8), number(8), Buffer.from([8, 2, 0, 0, 0])]);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const parts = [signature, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))];
  return Buffer.concat(parts).toString("base64");
})();

function must(condition, what) {
  if (!condition) throw new Error(typeof what === "string" ? what : JSON.stringify(what));
}

async function query(sql) {
  const answer = await fetch(`${CONSOLE}/api/v1/sql?format=json`, {
    method: "POST",
    headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" },
    body: JSON.stringify({ query: sql }),
  });
  must(answer.ok, await answer.clone().text());
  return (await answer.json()).rows;
}

/** One conversation of one client with one model. */
class Case {
  constructor(client, spoken, name) {
    Object.assign(this, { client, spoken, upstream: UPSTREAMS[spoken], name: UPSTREAMS[spoken].name });
    this.conversation = `${client.name} ${spoken} ${name}`;
    this.headers = {
      "x-tollgate-conversation": this.conversation,
      "x-mock-echo": "1",
      "x-mock-output-tokens": String(OUTPUT_TOKENS),
      "x-mock-cached-tokens": String(CACHED_TOKENS),
    };
  }

  async provider(what) {
    return (await fetch(`${this.upstream.url}/mock/${what}`)).json();
  }

  /** The last of `count` rows, after it was found to be what a good call's must be. */
  good(rows, { stream = false, count = 1, outcome = "success" } = {}) {
    must(rows.length === count, `${rows.length} rows, not ${count}`);
    const row = rows.at(-1);
    const { name, spoken, upstream, client } = this;
    const expected = {
      outcome, stream, model_requested: name, model_served: upstream.model, provider: upstream.provider,
      dialect: client.dialect, upstream_dialect: spoken, usage_source: "provider", cost_source: "catalog",
    };
    for (const [column, value] of Object.entries(expected)) {
      must(row[column] === value, `${column} is ${row[column]}, not ${value}: ${JSON.stringify(row)}`);
    }
    // Prices are whole trillionths of a dollar for each token, so that sums are exact.
    const [input, cache, output] = upstream.usd_per_mtok.map((rate) => BigInt(Math.round(Number(rate) * 1e6)));
    const cached = BigInt(row.cache_read_input_tokens ?? 0);
    const cost = (BigInt(row.input_tokens) - cached) * input + cached * cache + BigInt(row.output_tokens) * output;
    must(row.output_tokens > 0 && BigInt(row.cost_usd.replace(".", "")) === cost, `${row.cost_usd} is not ${cost}`);
    return row;
  }

  failed(rows, status, errorType) {
    must(rows.length === 1, `${rows.length} rows, not 1`);
    const [row] = rows;
    must(row.outcome === "failed" && row.http_status === status && row.cost_usd === null, row);
    must(row.error_type && (errorType === undefined || row.error_type === errorType), row);
  }

  async expect(status, headers, more) {
    let caught;
    try {
      await this.client.whole(this, headers, more);
    } catch (error) {
      caught = error;
    }
    must(caught, `${status} threw nothing`);
    const wrong = this.client.wrong(caught, status);
    must(!wrong, `${wrong}: ${caught}`);
  }
}

function counts(row, text, usage) {
  must(text, "no text");
  must(row.output_tokens === OUTPUT_TOKENS && row.cache_read_input_tokens === CACHED_TOKENS, row);
  must(usage[0] === row.input_tokens && usage[1] === row.output_tokens, `the client counts ${usage}: ${JSON.stringify(row)}`);
}

const refused = (status) => async (one) => {
  await one.expect(status, { ...one.headers, "x-mock-status": String(status) });
  return (rows) => one.failed(rows, status);
};

/** Each does something and returns what must then hold of its rows. */
const CASES = {
  async whole(one) {
    const [text, usage] = await one.client.whole(one, one.headers);
    return (rows) => counts(one.good(rows), text, usage);
  },
  async stream(one) {
    const [pieces, usage] = await one.client.stream(one, one.headers);
    must(pieces.filter(Boolean).length > 3, `hardly a stream: ${JSON.stringify(pieces)}`);
    return (rows) => counts(one.good(rows, { stream: true }), pieces.join(""), usage);
  },
  async tools(one) {
    const [name, args, text] = await one.client.tools(one, one.headers);
    must(name === TOOL && typeof args.account === "string" && text, JSON.stringify([name, args, text]));
    must((await one.provider("last")).body.includes(RESULT), "the tool's result did not reach the provider");
    return (rows) => one.good(rows, { count: 2 });
  },
  async structured(one) {
    const payment = await one.client.structured(one, one.headers);
    must(Object.keys(payment).sort().join() === "account,amount" && Number.isInteger(payment.amount), payment);
    return (rows) => one.good(rows);
  },
  async vision(one) {
    must(await one.client.vision(one, one.headers), "no text");
    must((await one.provider("last")).body.includes(PNG), "the picture did not reach the provider");
    return (rows) => one.good(rows);
  },
  async retry(one) {
    while ((await one.provider("stats")).requests % 2 === 0);
    const failing = { "x-mock-error-rate": "0.5", "x-mock-error-status": "429", "x-mock-retry-after-s": "1" };
    const [before, started] = [await one.provider("stats"), Date.now()];
    await one.provider("stats");
    const [text] = await one.client.whole(one, { ...one.headers, ...failing }, { retries: 1 });
    const [waited, after] = [Date.now() - started, await one.provider("stats")];
    must(text && after.requests - before.requests === 4, [before, after]);
    must(after.by_status[429] - (before.by_status[429] ?? 0) === 1, [before, after]);
    must(waited >= 1000, `it waited ${waited} ms, not the second it was told`);
    return (rows) => {
      one.good(rows, { count: 2 });
      one.failed(rows.slice(0, 1), 429);
    };
  },
  async cancel(one) {
    const slow = { "x-mock-chunk-delay-ms": "40", "x-mock-output-tokens": "25" };
    await one.client.abort(one, { ...one.headers, ...slow });
    return (rows) => {
      const row = one.good(rows, { stream: true, outcome: "cancelled" });
      must(row.output_tokens === 25, row);
    };
  },
  "status 429": refused(429),
  "status 500": refused(500),
  async "unknown key"(one) {
    // What a stranger says of the call is not kept, so its row is counted at the end.
    await one.expect(401, one.headers, { key: "tg-unknown" });
  },
  async "unknown model"(one) {
    one.name = "nobody/nothing";
    await one.expect(404, one.headers);
    return (rows) => one.failed(rows, 404, "model_not_found");
  },
};

/** The rows of one client's cases with one upstream by conversation, once none is still in flight. */
async function rowsOf(client, spoken, conversations) {
  const start = `${client.name} ${spoken} `;
  for (const end = Date.now() + 60_000; ; ) {
    await new Promise((next) => setTimeout(next, 200));
    const found = await query(`select * from interactions where starts_with(conversation_id, '${start}') order by started_at`);
    const rows = {};
    for (const row of found) (rows[row.conversation_id] ??= []).push(row);
    const missing = conversations.filter((conversation) => !rows[conversation]);
    if (missing.length === 0) return rows;
    must(Date.now() < end, `no rows of ${missing}`);
  }
}

/** Puts every client through every case with every upstream; those of one upstream follow each other. */
export async function run(clients) {
  const failures = [];
  await Promise.all(Object.keys(UPSTREAMS).map(async (spoken) => {
    for (const client of clients) {
      const tried = async (name, step) => {
        try {
          return await step();
        } catch (error) {
          failures.push(`${client.name}, ${spoken}, ${name}: ${error.stack}`);
        }
      };
      const checks = [];
      for (const [name, body] of Object.entries(CASES)) {
        const one = new Case(client, spoken, name);
        const check = await tried(name, () => body(one));
        if (check) checks.push([name, one.conversation, check]);
      }
      const rows = await tried("rows", () => rowsOf(client, spoken, checks.map(([, conversation]) => conversation)));
      for (const [name, conversation, check] of rows ? checks : []) await tried(name, () => check(rows[conversation] ?? []));
    }
  }));
  const denied = await query("select dialect from interactions where outcome = 'denied' and error_type = 'key_unknown'");
  const strangers = clients.flatMap((client) => Object.keys(UPSTREAMS).map(() => client.dialect)).sort().join();
  if (denied.map((row) => row.dialect).sort().join() !== strangers) failures.push(`rows of strangers: ${JSON.stringify(denied)}`);
  const many = [clients, Object.keys(UPSTREAMS), Object.keys(CASES)].map((list) => list.length);
  console.log(`${many[0]} clients, ${many[1]} upstreams, ${many[2]} cases each: ${failures.length} failures`);
  if (failures.length) console.error(failures.join("\n"));
  process.exit(failures.length ? 1 : 0);
}
