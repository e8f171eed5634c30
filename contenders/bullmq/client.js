// The client: carries out what duetime's client has committed, a line of JSON for each call, and answers with a line.
const { createInterface } = require("node:readline");
const { cancel, schedule } = require("./queue");

// Options of each job, only for `tuned`.
const options = JSON.parse(process.argv[2] ?? "{}");
const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function main() {
  answer({ ok: true });
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const call = JSON.parse(line);
      await (call.do === "schedule" ? schedule(call, options) : cancel(call));
      answer({ ok: true });
    } catch (error) {
      answer({ error: String(error) });
    }
  }
  process.exit(0);
}

main();
