{{/* What selects the pods: it must never change, so no version is in it. */}}
{{- define "workload.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "workload.labels" -}}
{{ include "workload.selector" . }}
app.kubernetes.io/version: {{ regexReplaceAll "[^A-Za-z0-9]+$" (.Chart.AppVersion | replace "+" "_" | trunc 63) "" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ regexReplaceAll "[^A-Za-z0-9]+$" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63) "" | quote }}
{{- end }}

{{- define "workload.serviceAccount" -}}
{{ (.Values.serviceAccount).name | default .Release.Name | quote }}
{{- end }}

{{/* Pods are replaced one by one, but where a volume can be on one node only: the
new pod would wait for the old one, and the old one for the new. */}}
{{- define "workload.strategy" -}}
{{- $alone := false }}
{{- range .Values.volumes }}
{{- if and .claim (hasPrefix "ReadWriteOnce" (.claim.accessMode | default "ReadWriteOnce")) }}
{{- $alone = true }}
{{- end }}
{{- end -}}
{{- if $alone -}}
type: Recreate
{{- else -}}
type: RollingUpdate
rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
{{- end }}
{{- end }}

{{/* The name of a port, the first one for none. Takes ports and port. */}}
{{- define "workload.port" -}}
{{ .port | default (first .ports).name | quote }}
{{- end }}

{{/* One probe. Takes ports and probe. */}}
{{- define "workload.probe" -}}
{{- if hasKey .probe "http" -}}
httpGet: {path: {{ .probe.http.path | default "/" | quote }}, port: {{ include "workload.port" (dict "ports" .ports "port" .probe.http.port) }}}
{{- else if hasKey .probe "tcp" -}}
tcpSocket: {port: {{ include "workload.port" (dict "ports" .ports "port" .probe.tcp.port) }}}
{{- else -}}
exec: {command: {{ toJson .probe.exec }}}
{{- end }}
{{- range $field := list "initialDelaySeconds" "periodSeconds" "timeoutSeconds" "failureThreshold" }}
{{- with get $.probe $field }}
{{ $field }}: {{ . }}
{{- end }}
{{- end }}
{{- end }}
