// The worker: one task, which delivers a notification.
const { readFileSync, writeFileSync } = require("fs");
const { EventEmitter } = require("events");
const { makeWorkerUtils, run } = require("graphile-worker");

const connectionString = process.env.DUETIME_DATABASE_DSN;
// The directory of this worker outlives a crash; only `tuned` names a file in it.
const poolFile = process.env.POOL_FILE;
// Settings of the library by its own names; only `tuned` has some.
const options = JSON.parse(process.env.WORKER_OPTIONS || "{}");

async function deliver({ key, revision }, helpers) {
  const body = JSON.stringify({ key, revision, worker: process.env.DUETIME_WORKER, attempt: helpers.job.attempts });
  const answer = await fetch(process.env.DUETIME_GATEWAY_URL, { method: "POST", body });
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
}

// Unlock the jobs of the predecessor, which has ended: this process was started in its place.
async function unlockPredecessor() {
  let pool;
  try {
    pool = readFileSync(poolFile, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return;
    throw error;
  }
  const utils = await makeWorkerUtils({ connectionString });
  await utils.forceUnlockWorkers([pool]);
  await utils.release();
}

async function main() {
  const events = new EventEmitter();
  if (poolFile) {
    await unlockPredecessor();
    events.on("pool:create", ({ workerPool }) => writeFileSync(poolFile, workerPool.id));
  }
  const runner = await run({
    preset: { worker: { connectionString, ...options } },
    taskList: { deliver },
    events,
  });
  console.log(`${process.env.DUETIME_WORKER} is ready`);
  await runner.promise;
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
