// The queue. A job is found by the deduplication id, which is the notification's key.
const { Queue } = require("bullmq");

// A call should fail quickly without Redis: https://docs.bullmq.io/patterns/failing-fast-when-redis-is-down
const queue = new Queue("deliver", { connection: { url: process.env.REDIS_URL, enableOfflineQueue: false } });
queue.on("error", (error) => console.error(error.message));

async function pendingJob(key) {
  const id = await queue.getDeduplicationJobId(key);
  return id ? queue.getJob(id) : undefined;
}

// A job that a worker has locked cannot be removed, so it is marked: it is not executed again after a crash.
async function cancelJob(job, key) {
  if (await queue.remove(job.id)) return;
  try {
    await job.updateData({ ...job.data, cancelled: true });
  } catch (error) {
    if (await queue.getJob(job.id)) throw error; // otherwise it is done
  }
  await queue.removeDeduplicationKey(key);
}

exports.schedule = async function schedule({ key, revision, due_at: dueAt }, options) {
  // A custom id must not contain a colon.
  const jobId = `${Buffer.from(key).toString("base64url")}-${revision}`;
  for (;;) {
    const pending = await pendingJob(key);
    if (pending && pending.data.revision >= revision) return;
    if (pending) await cancelJob(pending, key);
    // Date.parse drops the microseconds.
    const delay = Math.max(0, Date.parse(dueAt) + 1 - Date.now());
    const data = { key, revision };
    const job = await queue.add("deliver", data, { ...options, jobId, delay, deduplication: { id: key } });
    // Another client may have added a job of the key meanwhile; then this one is ignored.
    if (job.id === jobId) return;
  }
};

exports.cancel = async function cancel({ key, revision }) {
  const pending = await pendingJob(key);
  if (pending && pending.data.revision < revision) await cancelJob(pending, key);
};
