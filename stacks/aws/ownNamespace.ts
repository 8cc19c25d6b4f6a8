/** Where CloudWatch has the figures that are not AWS's own: those of the scheduled check, the poolers, servers on EC2. */
export const OWN_NAMESPACE = "CGraph/Database";
