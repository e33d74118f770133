package config

// Changed lists, in the order of Effective, the options and lines whose values
// differ between two configurations, as they are in after; those that are only
// in before come last and are unset. Secrets are compared, and not shown. What
// tasks declare is not looked at, nor what has no effect, nor what stands in files
// that values name.
func Changed(before, after *Config) []Setting {
	was, is := before.effective(), after.effective()
	type name struct{ group, name string }
	old := make(map[name]Setting, len(was))
	for _, s := range was {
		old[name{s.Group, s.Name}] = s
	}
	var out []Setting
	for _, s := range is {
		n := name{s.Group, s.Name}
		o, there := old[n]
		delete(old, n)
		if s.NoEffect {
			continue
		}
		if !there || s.Text() != o.Text() || !same(before.value(s), after.value(s)) {
			out = append(out, s)
		}
	}
	for _, s := range was {
		if _, gone := old[name{s.Group, s.Name}]; gone && !s.NoEffect {
			s.Value, s.Places = nil, nil
			out = append(out, s)
		}
	}
	return out
}

func (c *Config) effective() []Setting {
	list, _ := c.Effective() // without tasks it has no errors after Load
	return list
}

// value gives the value of an option, unmasked; nil for what is none.
func (c *Config) value(s Setting) any {
	o, ok := known[key{groupKey(s.Group), s.Name}]
	if !ok || o.unread {
		return nil
	}
	v, _, _, err := (&reader{c: c}).read(o.OptionSpec)
	if err != nil {
		return nil // not after Load, which has read them all
	}
	return v
}
