import { docker } from "../../scripts/lib/docker.ts";

/** The host as containers reach it: its address on Docker's own bridge. Older engines tell the network alone. */
export async function hostAddress(): Promise<string> {
  const format = "{{range .IPAM.Config}}{{.Gateway}} {{.Subnet}}{{end}}";
  const [gateway, subnet = ""] = (await docker(["network", "inspect", "bridge", "--format", format])).split(" ");
  return gateway || subnet.replace(/\.\d+\/.*$/s, ".1");
}
