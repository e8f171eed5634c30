// Create the schema and the queue.
const { PgBoss } = require("pg-boss");

async function main() {
  const boss = new PgBoss({
    connectionString: process.env.DUETIME_DATABASE_DSN,
    supervise: false,
    schedule: false,
  });
  boss.on("error", console.error);
  await boss.start();
  await boss.createQueue("deliver");
  await boss.stop();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
