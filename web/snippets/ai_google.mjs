import { generateText } from "ai";
import { createGoogleGenerativeAI } from "@ai-sdk/google";

const gateway = createGoogleGenerativeAI({ baseURL: "GATEWAY_URL/v1beta", apiKey: process.env.TOLLGATE_KEY });
const { text } = await generateText({ model: gateway("models/MODEL_NAME"), prompt: "Hello" });
console.log(text);
