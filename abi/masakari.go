package abi

import "slices"

// masakariOptions are the options of MasakariOptions.
var masakariOptions = []ManifestOption{
	{Group: "DEFAULT", Name: "verify_interval", Type: "seconds"},
	{Group: "DEFAULT", Name: "wait_period_after_evacuation", Type: "seconds"},
	{Group: "DEFAULT", Name: "wait_period_after_power_off", Type: "seconds"},
	{Group: "DEFAULT", Name: "wait_period_after_power_on", Type: "seconds"},
	{Group: "DEFAULT", Name: "wait_period_after_service_update", Type: "seconds"},
	{Group: "host_failure", Name: "add_reserved_host_to_aggregate", Type: "bool"},
	{Group: "host_failure", Name: "evacuate_all_instances", Type: "bool"},
	{Group: "host_failure", Name: "ha_enabled_instance_metadata_key", Type: "string"},
	{Group: "host_failure", Name: "ignore_instances_in_error_state", Type: "bool"},
	{Group: "host_failure", Name: "service_disable_reason", Type: "string"},
	{Group: "instance_failure", Name: "ha_enabled_instance_metadata_key", Type: "string"},
	{Group: "instance_failure", Name: "process_all_instances", Type: "bool"},
	{Group: "process_failure", Name: "service_disable_reason", Type: "string"},
}

// MasakariOptions lists those options of Masakari itself that any task may read, as
// its manifest names them: how recoveries are to be done. They need no grant. All
// others in sections of Masakari are refused.
func MasakariOptions() []ManifestOption { return slices.Clone(masakariOptions) }

// Masakaris reports whether the option is one of MasakariOptions, and nothing is
// said of it but its type and a text.
func (o ManifestOption) Masakaris() bool {
	plain := o.Default == nil && !o.Required && !o.Secret && o.Choices == nil && o.Min == nil && o.Max == nil
	return plain && slices.ContainsFunc(masakariOptions, func(m ManifestOption) bool {
		return m.Group == o.Group && m.Name == o.Name && m.Type == o.Type
	})
}
