// The worker: its jobs deliver a notification. Its options are the library's defaults, unless `tuned` names others.
const { Worker } = require("bullmq");

async function deliver(job) {
  const { key, revision, cancelled } = job.data;
  if (cancelled) return;
  const body = { key, revision, worker: process.env.DUETIME_WORKER, attempt: job.attemptsStarted };
  const answer = await fetch(process.env.DUETIME_GATEWAY_URL, { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
}

const options = JSON.parse(process.argv[2] ?? "{}");
const worker = new Worker("deliver", deliver, { connection: { url: process.env.REDIS_URL }, ...options });
worker.on("error", (error) => console.error(error.message));
worker.on("failed", (job, error) => console.error(`${job?.id} failed: ${error.message}`));
worker.on("stalled", (id) => console.error(`${id} stalled`));
worker.waitUntilReady().then(() => console.log(`${process.env.DUETIME_WORKER} is ready`));

process.on("SIGTERM", async () => {
  await worker.close();
  process.exit(0);
});
