curl "GATEWAY_URL/v1/chat/completions" \
  -H "authorization: Bearer $TOLLGATE_KEY" \
  -H "content-type: application/json" \
  -d '{"model": "MODEL_NAME", "messages": [{"role": "user", "content": "Hello"}]}'
