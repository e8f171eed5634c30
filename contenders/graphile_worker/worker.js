// The worker: one task, which delivers a notification.
const { run } = require("graphile-worker");

async function deliver({ key, revision }, helpers) {
  const body = JSON.stringify({ key, revision, worker: process.env.DUETIME_WORKER, attempt: helpers.job.attempts });
  const answer = await fetch(process.env.DUETIME_GATEWAY_URL, { method: "POST", body });
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
}

async function main() {
  const runner = await run({
    connectionString: process.env.DUETIME_DATABASE_DSN,
    concurrency: 4,
    pollInterval: Number(process.env.POLL_INTERVAL_MS || 2000),
    taskList: { deliver },
  });
  console.log(`${process.env.DUETIME_WORKER} is ready`);
  await runner.promise;
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
