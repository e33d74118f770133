module github.com/wasakari/wasakari/sdk/go

go 1.24
