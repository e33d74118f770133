package recovery

// TenantInputs lists the inputs of a flow that a tenant's task may read; all
// others tell of the operator's hosts. Of instance_uuid it learns only when the
// server is its own.
func TenantInputs() []string {
	return []string{"event", "generated_time", "instance_uuid", "notification_uuid", "recovery_method"}
}
