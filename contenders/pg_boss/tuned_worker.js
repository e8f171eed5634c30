// The worker that takes ten jobs at once, looks often, and goes on at once while there are more.
const { PgBoss } = require("pg-boss");
const { deliver, run } = require("./deliver");

const boss = new PgBoss({
  connectionString: process.env.DUETIME_DATABASE_DSN,
  // How often it looks for jobs that a dead worker held.
  superviseIntervalSeconds: 1,
  monitorIntervalSeconds: 1,
});
const often = { pollingIntervalSeconds: 0.5, batchSize: 10, burstWhenBatchFull: true, perJobResults: true };

async function settle(job) {
  try {
    await deliver(job);
    return { id: job.id, status: "completed" };
  } catch (error) {
    return { id: job.id, status: "failed", output: { message: error.message } };
  }
}

run(boss, () => boss.work("deliver", often, (jobs) => Promise.all(jobs.map(settle))));
