module github.com/wasakari/wasakari/tasks-examples

go 1.24

require github.com/wasakari/wasakari/sdk/go v0.0.0

replace github.com/wasakari/wasakari/sdk/go => ../sdk/go
