// Node's https module: visits the server COUNT times. The agent keeps sessions and resumes them.

import https from "node:https";

const [address, port, name, count] = process.argv.slice(2);
const agent = new https.Agent({ maxCachedSessions: 10 });
const visit = () =>
  new Promise((resolve, reject) => {
    const options = {
      agent,
      host: address,
      port,
      servername: name,
      path: "/health",
      headers: { Host: name, Connection: "close" },
      rejectUnauthorized: false,
      timeout: 10_000,
    };
    https
      .get(options, (answer) => {
        answer.resume();
        answer.on("end", () =>
          answer.statusCode === 200 ? resolve() : reject(new Error(`status ${answer.statusCode}`)),
        );
      })
      .on("error", reject);
  });
for (let left = Number(count); left > 0; left -= 1) {
  await visit();
}
