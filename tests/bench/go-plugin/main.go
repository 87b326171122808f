// The peer of ../pdk_plugin.rs: the same two calls through Kong's own PDK for Go.
package main

import (
	"log"

	pdk "github.com/Kong/go-pdk"
	"github.com/Kong/go-pdk/server"
)

type config struct{}

func (config) Access(kong *pdk.PDK) {
	if _, err := kong.Request.GetHeader("host"); err != nil {
		log.Printf("get_header: %v", err)
	}
	if err := kong.Response.SetHeader("x-bench", "two calls"); err != nil {
		log.Printf("set_header: %v", err)
	}
}

func main() {
	if err := server.StartServer(func() any { return &config{} }, "1.0.0", 900); err != nil {
		log.Fatal(err)
	}
}
