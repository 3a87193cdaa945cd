/** Checks the proofs that come line by line, for the tests in Python: they forge them. */
import { createInterface } from "node:readline";
import { proofs } from "otp-service-client";

const used = new Set<string>();
const first_use = (id: string): boolean => !used.has(id) && Boolean(used.add(id));

for await (const line of createInterface({ input: process.stdin })) {
  const { proof, ...expected } = JSON.parse(line) as { proof: string } & Omit<proofs.Expected, "first_use">;
  try {
    console.log(JSON.stringify(await proofs.verify(proof, { ...expected, first_use })));
  } catch (error) {
    console.log(JSON.stringify({ error: `${(error as Error).name}: ${(error as Error).message}` }));
  }
}
