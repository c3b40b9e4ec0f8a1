{{- define "poplin.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* Whole numbers of YAML are fractions to Helm, and large ones (AS numbers) would be written as 4.2e+09. */}}
{{- define "poplin.scalar" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* The agent's configuration: what it is given, and the API server. */}}
{{- define "poplin.config" -}}
{{- $config := merge (dict) .Values.config -}}
{{- if or .Values.kubeApiServer (not (hasKey $config "kubeApiServer")) }}{{ $_ := set $config "kubeApiServer" .Values.kubeApiServer }}{{ end -}}
{{- range $name, $value := $config }}
{{ $name }}: {{ include "poplin.scalar" $value }}
{{- end }}
{{- end -}}

{{- define "poplin.httpListen" -}}
{{- required "config.httpListen is empty: the probes ask the agent there, e.g. 127.0.0.1:9179" .Values.config.httpListen -}}
{{- end -}}

{{/* Where a kubelet on the same node finds the agent that listens on config.httpListen. */}}
{{- define "poplin.probeHost" -}}
{{- $host := include "poplin.httpListen" . | regexFind "^.*:" | trimSuffix ":" | trimPrefix "[" | trimSuffix "]" -}}
{{- if eq $host "0.0.0.0" }}127.0.0.1{{ else if eq $host "::" }}"::1"{{ else }}{{ $host | quote }}{{ end -}}
{{- end -}}

{{- define "poplin.probePort" -}}
{{- include "poplin.httpListen" . | regexFind "[0-9]+$" -}}
{{- end -}}
