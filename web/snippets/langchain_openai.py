import os
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="MODEL_NAME", base_url="GATEWAY_URL/v1", api_key=os.environ["TOLLGATE_KEY"])
print(model.invoke("Hello").text)
