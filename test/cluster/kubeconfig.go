package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"text/template"
)

var kubeconfigTemplate = template.Must(template.New("kubeconfig").Parse(`apiVersion: v1
kind: Config
current-context: {{.Name}}
contexts:
- name: {{.Name}}
  context: {cluster: {{.Name}}, user: {{.Name}}, namespace: default}
clusters:
- name: {{.Name}}
  cluster:
    server: {{.Server}}
    certificate-authority-data: {{.CA}}
users:
- name: {{.Name}}
  user:
    client-certificate-data: {{.Cert}}
    client-key-data: {{.Key}}
`))

// writeKubeconfig writes the settings with which the holder of an identity of
// the pki folder reaches the API server. They hold the key itself.
func (c *cluster) writeKubeconfig(path, identity string) error {
	data := struct{ Name, Server, CA, Cert, Key string }{Name: c.name, Server: c.server()}
	for file, field := range map[string]*string{"ca.crt": &data.CA, identity + ".crt": &data.Cert, identity + ".key": &data.Key} {
		content, err := os.ReadFile(c.path("pki", file))
		if err != nil {
			return err
		}
		*field = base64.StdEncoding.EncodeToString(content)
	}
	var text bytes.Buffer
	if err := kubeconfigTemplate.Execute(&text, data); err != nil {
		return err
	}
	return writeFile(path, text.Bytes(), 0o600)
}

// writeFile replaces a file's content as a whole, or not at all.
func writeFile(path string, content []byte, mode os.FileMode) error {
	if current, err := os.ReadFile(path); err == nil && bytes.Equal(current, content) {
		return nil
	}
	if err := os.WriteFile(path+".draft", content, mode); err != nil {
		return err
	}
	return os.Rename(path+".draft", path)
}
