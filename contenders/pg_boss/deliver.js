// What both workers do with a job.
exports.deliver = async function deliver(job) {
  const { key, revision } = job.data;
  const body = JSON.stringify({ key, revision, worker: process.env.DUETIME_WORKER, attempt: job.retryCount + 1 });
  const answer = await fetch(process.env.DUETIME_GATEWAY_URL, { method: "POST", body, signal: job.signal });
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status}`);
};

exports.run = async function run(boss, work) {
  boss.on("error", (error) => console.error(error.message));
  // stop() waits for active jobs, by default up to 30 s.
  process.on("SIGTERM", () => boss.stop());
  await boss.start();
  await work();
  console.log(`${process.env.DUETIME_WORKER} is ready`);
};
