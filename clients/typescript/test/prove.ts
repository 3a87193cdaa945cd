/** Checks the proofs that come line by line, for the tests in Python: they forge them. */
import { createInterface } from "node:readline";
import { proofs } from "otp-service-client";

type Line = { proof: string; later?: number } & Omit<proofs.Expected, "first_use">;

const used = new Set<string>();
const now = performance.now.bind(performance);
const first_use = (id: string): boolean => !used.has(id) && Boolean(used.add(id));

for await (const line of createInterface({ input: process.stdin })) {
  const { proof, later, ...expected } = JSON.parse(line) as Line;
  performance.now = () => now() + 1000 * (later ?? 0);
  try {
    console.log(JSON.stringify(await proofs.verify(proof, { ...expected, first_use })));
  } catch (error) {
    console.log(JSON.stringify({ error: `${(error as Error).name}: ${(error as Error).message}` }));
  }
}
