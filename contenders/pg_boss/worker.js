// The worker, with the defaults of the library: it looks for a job every 2 s.
const { PgBoss } = require("pg-boss");
const { deliver, run } = require("./deliver");

const boss = new PgBoss(process.env.DUETIME_DATABASE_DSN);

run(boss, () => boss.work("deliver", { localConcurrency: 5 }, ([job]) => deliver(job)));
