{{/* Parts that several templates share. Names are fixed: two operators in one cluster would fight over every kernel, and the second install fails. */}}

{{/* Labels of an object. Call with (dict "root" $ "component" "agent"). */}}
{{- define "ipvs-operator.labels" -}}
{{ include "ipvs-operator.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "ipvs-operator.selector" -}}
app.kubernetes.io/name: ipvs-operator
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "ipvs-operator.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}
